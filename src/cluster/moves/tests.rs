//! Tests of `moves`: two nodes that are told what the other said.

use super::*;
use crate::base::time::{Mono, Now, Wall};
use crate::cluster::machine::Facts;
use crate::cluster::settings::Settings;

const SOURCE: &str = "a";
const TARGET: &str = "b";

fn id(letter: &str) -> String {
    letter.repeat(40)
}

fn at(ms: u64) -> Now {
    let (mono, wall) = (Mono(ms * 1_000_000), Wall((1_700_000_000_000 + ms) * 1_000));
    Now { mono, wall }
}

/// Slots 0 to 99 are the source's, the rest the target's.
fn node(me: &str) -> Cluster {
    let mut text = String::new();
    for (name, port, slots) in [(SOURCE, 1, "0-99"), (TARGET, 2, "100-16383")] {
        let myself = if name == me { "myself," } else { "" };
        let id = id(name);
        let line = format!("{id} 10.0.0.{port}:{port}@{port} {myself}master - 0 0 {port}");
        text.push_str(&format!("{line} connected {slots}\n"));
    }
    text.push_str("vars currentEpoch 2 lastVoteEpoch 0\n");
    let mut node = Cluster::load(at(0), 1, Settings::default(), text.as_bytes()).unwrap();
    node.begin(at(0), &mut Vec::new());
    node
}

fn run<T>(
    node: &mut Cluster,
    ms: u64,
    act: impl FnOnce(&mut Cluster) -> Result<T, ErrorKind>,
) -> (Result<T, ErrorKind>, Vec<Output>) {
    let mut out = Vec::new();
    let result = node.command(at(ms), &mut out, act);
    node.check().unwrap();
    (result, out)
}

fn tell(node: &mut Cluster, ms: u64, news: News) -> Vec<Output> {
    run(node, ms, |it| {
        it.move_news(1, news);
        Ok(())
    })
    .1
}

fn answer(question: Question, result: Result<(), Option<String>>) -> News {
    News::Answer { question, result }
}

fn asks(out: &[Output], wanted: Question) -> bool {
    let is = |it: &Output| matches!(it, Output::Move(Order::Ask { question, .. }) if *question == wanted);
    out.iter().any(is)
}

fn resumes(out: &[Output]) -> bool {
    out.contains(&Output::ResumeWrites)
}

fn slots() -> Slots {
    (10..=19).collect()
}

fn begin(node: &mut Cluster) -> Vec<Output> {
    let to = id(TARGET);
    let wish = Wish { slots: slots(), to: to.as_bytes() };
    let (result, out) = run(node, 1_000, |it| it.migrate_slots(vec![wish]));
    assert_eq!(result, Ok(()));
    out
}

/// A source whose target was told to take the slots.
fn finishing() -> Cluster {
    let mut node = node(SOURCE);
    assert!(asks(&begin(&mut node), Question::Establish));
    let out = tell(&mut node, 1_010, answer(Question::Establish, Ok(())));
    assert!(out.iter().any(|it| matches!(it, Output::Move(Order::Copy { .. }))));
    let out = tell(&mut node, 1_500, News::Copied);
    let pause = out.iter().find_map(|it| match it {
        Output::PauseWrites { number, .. } => Some(*number),
        _ => None,
    });
    let mut out = Vec::new();
    let facts = Facts { still: pause.unwrap(), ..Facts::default() };
    node.inform(at(1_510), facts, &mut out);
    assert!(out.contains(&Output::Move(Order::Drain { job: 1 })));
    let out = tell(&mut node, 1_520, News::Drained);
    assert!(asks(&out, Question::Finish) && !resumes(&out));
    node
}

fn owner(node: &Cluster, slot: u16) -> String {
    node.node(node.table.owner(slot).unwrap()).id.to_string()
}

fn state(node: &Cluster) -> State {
    node.moves.jobs.last().unwrap().state
}

#[test]
fn slots_are_the_targets_when_it_says_so() {
    let mut node = finishing();
    assert_eq!(owner(&node, 10), id(SOURCE));
    let out = tell(&mut node, 1_530, answer(Question::Finish, Ok(())));
    assert!(out.contains(&Output::DropKeys { slots: slots() }) && resumes(&out));
    assert_eq!((owner(&node, 10), owner(&node, 20)), (id(TARGET), id(SOURCE)));
    assert_eq!(state(&node), State::Success);
}

/// The answer is lost: writers wait until the bus tells.
#[test]
fn the_bus_tells_what_the_answer_did_not() {
    for result in [Err(None), Err(Some("ERR No such slot migration".to_string()))] {
        let mut node = finishing();
        let out = tell(&mut node, 1_530, answer(Question::Finish, result));
        assert!(!resumes(&out) && state(&node) == State::Unsure);
        let (_, out) = run(&mut node, 1_600, |it| {
            it.step_moves();
            Ok(())
        });
        assert!(!resumes(&out));
        let (_, out) = run(&mut node, 1_700, |it| {
            let target = it.find(id(TARGET).as_bytes())?;
            let claimed: Slots = (10..=19).chain(100..SLOTS).collect();
            it.node_mut(target).config_epoch = 3;
            it.update_slots(target, 3, &claimed);
            it.step_moves();
            Ok(())
        });
        assert!(resumes(&out) && state(&node) == State::Success);
        assert!(out.contains(&Output::DropKeys { slots: slots() }));
    }
}

#[test]
fn a_target_that_never_tells_has_not_taken_them() {
    let mut node = finishing();
    tell(&mut node, 1_530, answer(Question::Finish, Err(None)));
    let later = 1_530 + 2 * u64::try_from(PATIENCE_MS).unwrap() + 1;
    let (_, out) = run(&mut node, later, |it| {
        it.step_moves();
        Ok(())
    });
    assert!(resumes(&out) && state(&node) == State::Failed);
    assert_eq!(owner(&node, 10), id(SOURCE));
}

#[test]
fn what_fails_on_the_way_leaves_all_as_it_was() {
    let broken = || News::Broken("OOM".into());
    let refused = || answer(Question::KeepAlive, Err(Some("ERR no".into())));
    for news in [broken(), refused()] {
        let mut node = node(SOURCE);
        begin(&mut node);
        tell(&mut node, 1_010, answer(Question::Establish, Ok(())));
        let out = tell(&mut node, 1_020, news);
        assert!(out.contains(&Output::Move(Order::End { job: 1 })));
        assert!(asks(&out, Question::Fail));
        assert_eq!((state(&node), owner(&node, 10)), (State::Failed, id(SOURCE)));
    }
}

#[test]
fn a_cancelled_move_is_over_unless_the_target_was_told() {
    let mut node = node(SOURCE);
    assert_eq!(run(&mut node, 900, Cluster::cancel_moves).0, Err(ErrorKind::MoveNone));
    begin(&mut node);
    let (result, out) = run(&mut node, 1_005, Cluster::cancel_moves);
    assert!(result == Ok(()) && asks(&out, Question::Fail));
    assert_eq!(state(&node), State::Cancelled);
    let mut node = finishing();
    assert_eq!(run(&mut node, 1_530, Cluster::cancel_moves).0, Ok(()));
    assert_eq!(state(&node), State::Finishing);
}

fn receive(node: &mut Cluster, keys: u64) -> (Result<(), ErrorKind>, Vec<Output>) {
    let (name, source) = (id("c"), id(SOURCE));
    run(node, 1_000, |it| it.begin_import(name.as_bytes(), source.as_bytes(), slots(), &|_| keys))
}

fn hear(node: &mut Cluster, ms: u64, question: Question) -> (Result<(), ErrorKind>, Vec<Output>) {
    run(node, ms, |it| it.import_news(id("c").as_bytes(), question))
}

#[test]
fn the_target_takes_them_once_and_says_so_again() {
    let mut node = node(TARGET);
    assert_eq!(receive(&mut node, 0).0, Ok(()));
    assert!(node.map(crate::cluster::show::Endpoint::Ip).is_importing(10));
    assert_eq!(hear(&mut node, 5_000, Question::KeepAlive).0, Ok(()));
    assert_eq!(hear(&mut node, 14_000, Question::Finish).0, Ok(()));
    assert_eq!(owner(&node, 10), id(TARGET));
    let source = node.find(id(SOURCE).as_bytes()).unwrap();
    assert!(node.me().config_epoch > node.node(source).config_epoch && !node.may_speak());
    assert_eq!(hear(&mut node, 14_100, Question::Finish).0, Ok(()));
    assert!(!node.map(crate::cluster::show::Endpoint::Ip).is_importing(10));
}

#[test]
fn a_target_that_heard_nothing_for_long_takes_nothing() {
    let mut node = node(TARGET);
    receive(&mut node, 0).0.unwrap();
    let late = 1_001 + u64::try_from(PATIENCE_MS).unwrap();
    let (result, out) = hear(&mut node, late, Question::Finish);
    assert_eq!(result, Err(ErrorKind::MoveUnknown));
    assert!(out.contains(&Output::DropKeys { slots: slots() }));
    assert_eq!(owner(&node, 10), id(SOURCE));
}

#[test]
fn copies_that_are_left_over_never_come_alive() {
    let mut target = node(TARGET);
    let (result, out) = receive(&mut target, 7);
    assert_eq!(result, Err(ErrorKind::MoveLeftover));
    assert!(out.contains(&Output::DropKeys { slots: slots() }));
    receive(&mut target, 0).0.unwrap();
    // It dies on the way, and starts anew with its data.
    let file = target.file();
    let mut target = Cluster::load(at(9_000), 2, Settings::default(), &file).unwrap();
    target.compare_with_data(|slot| u64::from(slots().contains(slot)));
    let mut out = Vec::new();
    target.begin(at(9_000), &mut out);
    assert!(out.contains(&Output::DropKeys { slots: slots() }));
    assert!(target.table.importing.is_empty());
    assert_eq!(receive(&mut target, 0).0, Ok(()));
}
