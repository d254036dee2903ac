//! Our master's stream by several connections: which are wanted, and one order again.
//!
//! Core 0 has a connection made for each flow that the master offers, by one core after another. What they bring is put in order here
//! (`replication/gather.rs`) and goes on as if the link had brought it: bytes are read as the link's, units that a
//! flow's core has read wait in the same queue. All else (what is acknowledged, when a unit is applied) is the link's.
//!
//! A flow that is lost is dialled again, and the master goes on from what we have. One that cannot be had again takes the link with
//! it, which asks for a partial resync and does without flows for a while. So does what waits for a flow that says nothing.
//! When the link itself ends, what the flows had still brought counts first.
//!
//! Not here: the connections (`flow_link.rs`), how units are applied (`applying.rs`).

use crate::base::time::Mono;
use crate::node::control::{Control, ControlCx};
use crate::node::flow_link::{FlowOrder, FromFlow, Routed, ToFlow};
use crate::node::message::Message;
use crate::node::outbox::Level;
use crate::node::settings::{ReplFlows, Settings};
use crate::replication::attached::LinkId;
use crate::replication::flows::Join;
use crate::replication::gather::Gather;
use crate::replication::replica::Input;

/// Between two tries for a flow, twice as long each time; how often one is tried for; and how long the link does without
/// after that, twice as long each time.
const RETRY_MS: u64 = 500;
const FAILURES_MAX: u32 = 4;
const WITHOUT_MS: u64 = 60_000;
const WITHOUT_MS_MAX: u64 = 3_600_000;

/// The link is gone, and its flows do not end: how long they are heard yet.
const DRAIN_MS: u64 = 2_000;

/// Frames wait for one that does not come: its flow is dialled anew.
const STALL_MS: u64 = 3_000;

/// See the file's header.
#[derive(Debug, Default)]
pub struct FlowsIn {
    gather: Gather<Routed>,
    flows: Vec<FlowIn>,
    token: LinkId,
    numbers: u64,
    /// No flows before that; how often they were given up without any use.
    not_before: Mono,
    given_up: u32,
    /// Where the stream was, and since when.
    moved: (u64, Mono),
    /// The link is gone since then, and what the flows still bring is waited for.
    draining: Option<Mono>,
}

#[derive(Debug, Default)]
struct FlowIn {
    /// The connection that is it now.
    number: u64,
    state: State,
    failures: u32,
    paused: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Away,
    /// To be asked for at that time.
    Waiting(Mono),
    Asked,
    Up,
}

impl FlowsIn {
    /// Is what they bring still waited for, though the link is gone?
    #[must_use]
    pub fn are_draining(&self) -> bool {
        self.draining.is_some()
    }

    /// How many flows there are, and how many of them have a connection.
    #[must_use]
    pub fn count(&self) -> (usize, usize) {
        let up = self.flows.iter().filter(|it| it.state == State::Up).count();
        (self.flows.len(), up)
    }
}

/// Are flows wanted between nodes, by one that has so many cores?
#[must_use]
pub fn are_wanted(settings: &Settings, cores: usize) -> bool {
    match settings.repl_flows {
        ReplFlows::Auto => cores > 1,
        ReplFlows::Yes => true,
        ReplFlows::No => false,
    }
}

impl Control {
    /// Begins, goes on with and ends flows.
    pub(super) fn settle_flows(&mut self, cx: &mut ControlCx<'_>) {
        let (now, flows) = (cx.now().mono, &self.following.flows);
        if let Some(since) = flows.draining {
            if now.ms_since(since) >= DRAIN_MS {
                self.link_lost(cx);
            }
            return;
        }
        let offer = self.following.replica.flows().filter(|_| self.following.link.is_some());
        let Some(offer) = offer else { return self.end_flows(cx) };
        if flows.flows.is_empty() {
            if now < flows.not_before || !are_wanted(&self.view.settings, self.cores) {
                return;
            }
            let position = self.stream_position(cx);
            let flows = &mut self.following.flows;
            flows.token = offer.token;
            flows.gather = Gather::new(offer.flows);
            flows.flows.resize_with(offer.flows, FlowIn::default);
            flows.flows.iter_mut().for_each(|it| it.state = State::Waiting(now));
            flows.moved = (position, now);
        }
        self.find_stalled_flows(cx);
        for flow in 0..self.following.flows.flows.len() {
            if matches!(self.following.flows.flows[flow].state, State::Waiting(at) if at <= now) {
                self.ask_for_flow(cx, flow);
            }
        }
    }

    fn ask_for_flow(&mut self, cx: &mut ControlCx<'_>, flow: usize) {
        let Some((host, port)) = self.following.master.clone() else { return };
        let offset = self.stream_position(cx);
        let flows = &mut self.following.flows;
        flows.numbers += 1;
        flows.gather.clear(flow);
        let (number, token) = (flows.numbers, flows.token);
        let it = &mut flows.flows[flow];
        (it.number, it.state, it.paused) = (number, State::Asked, false);
        let host = String::from_utf8_lossy(&host).into_owned();
        let join = Join { token, flow, offset };
        let order = FlowOrder { number, join, host, port };
        self.tell_flow(cx, flow, ToFlow::Join(order));
    }

    fn tell_flow(&mut self, cx: &mut ControlCx<'_>, flow: usize, told: ToFlow) {
        match flow % self.cores {
            0 => cx.core.flow_told(told, cx.out),
            core => cx.out.mail[core].push(Message::ToFlow(Box::new(told))),
        }
    }

    /// The link is gone. A master that died had given everything that it acknowledged to all sockets: so what comes
    /// by the others is waited for, until they end, too. False: there are none.
    pub(super) fn drain_flows(&mut self, cx: &mut ControlCx<'_>) -> bool {
        let flows = &mut self.following.flows;
        let any = flows.count().1 > 0;
        flows.draining = any.then_some(cx.now().mono);
        any
    }

    /// The link is gone, and its flows with it.
    pub(super) fn end_flows(&mut self, cx: &mut ControlCx<'_>) {
        self.following.flows.draining = None;
        if self.following.flows.flows.is_empty() {
            return;
        }
        self.following.flows.flows.clear();
        self.following.flows.gather = Gather::new(0);
        for core in 0..self.cores {
            self.tell_flow(cx, core, ToFlow::LeaveAll);
        }
    }

    /// Up to where the stream is here, executed or not.
    fn stream_position(&self, cx: &ControlCx<'_>) -> u64 {
        let read = self.following.replica.status(cx.now().mono).read;
        read + self.following.bytes.len() as u64
    }

    pub(super) fn flow_said(&mut self, cx: &mut ControlCx<'_>, said: FromFlow) {
        let flows = &mut self.following.flows;
        let (FromFlow::Joined { number }
        | FromFlow::Frames { number, .. }
        | FromFlow::Ended { number, .. }) = &said;
        let Some(at) = flows.flows.iter().position(|it| it.number == *number) else { return };
        let flow = &mut flows.flows[at];
        match said {
            FromFlow::Joined { .. } => {
                flow.state = State::Up;
                let (all, up) = flows.count();
                if up == all {
                    cx.log(Level::Notice, format!("The stream may come by {all} connections"));
                }
            }
            FromFlow::Frames { frames, .. } => {
                (flow.failures, flows.given_up) = (0, 0);
                frames.into_iter().for_each(|frame| flows.gather.push(at, frame));
                self.gather_flows(cx);
            }
            FromFlow::Ended { why, .. } => {
                cx.log(Level::Notice, format!("Connection {at} of the stream is lost: {why}"));
                self.flow_lost(cx, at);
            }
        }
    }

    /// Takes the stream as far as it is here.
    fn gather_flows(&mut self, cx: &mut ControlCx<'_>) {
        let now = cx.now().mono;
        while (self.following.link.is_some() || self.following.flows.draining.is_some())
            && self.following.replica.flows().is_some()
            && self.following.changes.is_empty()
        {
            let position = self.stream_position(cx);
            let between = self.following.bytes.is_empty();
            let Some((flow, frame)) = self.following.flows.gather.next(position, between) else {
                break;
            };
            let length = frame.bytes.len() as u64;
            self.following.flows.moved = (position + length, now);
            match frame.read {
                Some(routed) => {
                    self.tell_link(cx, Input::Flowed { bytes: length }, &[]);
                    self.queue_routed(cx, flow, routed, &frame.bytes, position + length);
                }
                None => {
                    cx.core.stats.repl_input_bytes += length;
                    self.link_bytes(cx, &frame.bytes);
                }
            }
        }
        self.pump_units(cx);
        self.pace_flows(cx);
    }

    /// Flows that bring more than can be used are not read from for a while.
    pub(super) fn pace_flows(&mut self, cx: &mut ControlCx<'_>) {
        for flow in 0..self.following.flows.flows.len() {
            let flows = &mut self.following.flows;
            let pause = self.following.paused || flows.gather.is_far(flow);
            let it = &mut flows.flows[flow];
            if it.state == State::Up && it.paused != pause {
                it.paused = pause;
                let number = it.number;
                self.tell_flow(cx, flow, ToFlow::Pace { number, pause });
            }
        }
    }

    fn find_stalled_flows(&mut self, cx: &mut ControlCx<'_>) {
        let (now, position) = (cx.now().mono, self.stream_position(cx));
        let flows = &mut self.following.flows;
        let waits = flows.gather.waits() && !self.following.paused;
        if !waits || flows.moved.0 != position {
            flows.moved = (position, now);
        }
        if now.ms_since(flows.moved.1) < STALL_MS {
            return;
        }
        flows.moved.1 = now;
        for flow in 0..flows.flows.len() {
            // One that failed before it may be gone already, with all others.
            let flows = &self.following.flows;
            let Some(it) = flows.flows.get(flow).filter(|it| it.state == State::Up) else {
                continue;
            };
            if flows.gather.may_owe(flow) {
                let number = it.number;
                cx.log(Level::Warning, format!("Connection {flow} of the stream says nothing"));
                self.tell_flow(cx, flow, ToFlow::Leave { number });
                self.flow_lost(cx, flow);
            }
        }
    }

    fn flow_lost(&mut self, cx: &mut ControlCx<'_>, flow: usize) {
        let now = cx.now().mono;
        if self.following.flows.draining.is_some() {
            self.following.flows.flows[flow].state = State::Away;
            if self.following.flows.count().1 == 0 {
                self.link_lost(cx);
            }
            return;
        }
        let it = &mut self.following.flows.flows[flow];
        let delay_ms = RETRY_MS << it.failures.min(FAILURES_MAX);
        it.failures += 1;
        (it.number, it.state) = (0, State::Waiting(now.plus_ms(delay_ms)));
        if it.failures >= FAILURES_MAX {
            // The master may have left the stream to the flows already.
            let flows = &mut self.following.flows;
            let without_ms = (WITHOUT_MS << flows.given_up.min(8)).min(WITHOUT_MS_MAX);
            flows.not_before = now.plus_ms(without_ms);
            flows.given_up += 1;
            self.end_flows(cx);
            self.tell_link(cx, Input::FlowLost, &[]);
        }
    }
}
