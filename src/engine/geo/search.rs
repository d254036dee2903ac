//! What looks for places within a circle or a box: `GEOSEARCH`, `GEORADIUS`, and what keeps their results.

use super::hash::{Form, Place, Shape};
use super::{place_at, reply_distance, reply_place, unit};
use crate::base::num;
use crate::command::args::Args;
use crate::engine::notices::Class;
use crate::engine::shard::{Cx, integer};
use crate::resp::error::ErrorKind;
use crate::resp::reply::Reply;
use crate::types::record::Kind;
use crate::types::scores::{self, Scores};
use crate::types::store::Hasher;

/// Which command it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Which {
    Radius,
    RadiusByMember,
    Search,
    SearchStore,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, Default)]
struct Query<'a> {
    /// Not told where there is no key to find the member in.
    centre: Option<Place>,
    form: Option<Form>,
    unit_m: f64,
    order: Option<Order>,
    /// 0: all.
    count: usize,
    /// As many as come first, instead of the nearest.
    any: bool,
    with_distance: bool,
    with_hash: bool,
    with_place: bool,
    store: Option<&'a [u8]>,
    store_distance: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Near,
    Far,
}

/// A place that was found.
struct Found {
    member: Vec<u8>,
    score: f64,
    place: Place,
    /// In metres.
    distance: f64,
}

/// `GEOSEARCH key <FROMMEMBER member | FROMLONLAT longitude latitude> <BYRADIUS radius unit | BYBOX width
/// height unit> [ASC | DESC] [COUNT count [ANY]] [WITHCOORD] [WITHDIST] [WITHHASH]`
pub fn geosearch(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    search(cx, args, Which::Search, false)
}

/// `GEOSEARCHSTORE destination source <FROM..> <BY..> [ASC | DESC] [COUNT count [ANY]] [STOREDIST]`
pub fn geosearchstore(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    search(cx, args, Which::SearchStore, false)
}

/// `GEORADIUS key longitude latitude radius unit [WITHCOORD] [WITHDIST] [WITHHASH] [COUNT count [ANY]]
/// [ASC | DESC] [STORE key | STOREDIST key]`
pub fn georadius(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    search(cx, args, Which::Radius, true)
}

pub fn georadius_ro(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    search(cx, args, Which::Radius, false)
}

/// `GEORADIUSBYMEMBER key member radius unit ..`, as `GEORADIUS`.
pub fn georadiusbymember(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    search(cx, args, Which::RadiusByMember, true)
}

pub fn georadiusbymember_ro(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    search(cx, args, Which::RadiusByMember, false)
}

fn search(cx: &mut Cx<'_>, args: Args<'_>, which: Which, stores: bool) -> Result<(), ErrorKind> {
    let source = if which == Which::SearchStore { &args[2] } else { args.key() };
    let (key, hasher) = (cx.key(source), cx.keyspace.hasher());
    let value = cx.keyspace.read(cx.db, key, Kind::ZSet, cx.now)?;
    let scores = value.map(Scores::of);
    let query = Query::parse(args, which, stores, scores, &hasher)?;
    let mut found = match (scores, query.centre, query.form) {
        (Some(scores), Some(centre), Some(form)) => {
            query.run(scores, &Shape { centre, form, unit_m: query.unit_m })
        }
        _ => Vec::new(),
    };
    let Some(target) = query.store else {
        query.reply(&mut cx.reply, &found);
        return Ok(());
    };
    let len = found.len();
    let score = |it: &Found| {
        if query.store_distance { it.distance / query.unit_m } else { it.score }
    };
    let pairs = found.drain(..).map(|it| {
        let score = score(&it);
        (it.member, score)
    });
    // A huge shape may have a place twice: the last one counts.
    let mut body = scores::empty_ranked();
    let packing = cx.keyspace.packing();
    for (member, score) in pairs {
        scores::put(&mut body, &packing, &hasher, &member, score);
    }
    let is_search = matches!(which, Which::Search | Which::SearchStore);
    let event = if is_search { "geosearchstore" } else { "georadiusstore" };
    let body = scores::packed_if_small(body, &packing);
    cx.keep(target, body, (Class::SortedSet, event))?;
    cx.effect.changed((len as u64).saturating_sub(1));
    cx.reply_len(len);
    Ok(())
}

impl<'a> Query<'a> {
    fn parse(
        args: Args<'a>,
        which: Which,
        stores: bool,
        scores: Option<Scores<'_>>,
        hasher: &Hasher,
    ) -> Result<Self, ErrorKind> {
        let mut query = Self { unit_m: 1.0, ..Self::default() };
        let place_of = |at: usize| match (scores, args.get(at)) {
            (Some(scores), Some(member)) => {
                let score = scores.score(|it| hasher.hash(it), member);
                score.map(|it| Some(Place::of_score(it))).ok_or(ErrorKind::GeoMember)
            }
            _ => Ok(None),
        };
        let mut at = match which {
            Which::Radius => {
                query.centre = Some(place_at(args, 2)?);
                query.circle(args, 4)?;
                6
            }
            Which::RadiusByMember => {
                query.centre = place_of(2)?;
                if scores.is_some() {
                    query.circle(args, 3)?;
                }
                5
            }
            Which::Search => 2,
            Which::SearchStore => {
                query.store = args.get(1);
                3
            }
        };
        let (mut from_member, mut from_place) = (false, false);
        let searches = matches!(which, Which::Search | Which::SearchStore);
        while at < args.len() {
            let left = args.len() - at - 1;
            if searches && args.is(at, "FROMMEMBER") && left >= 1 && !from_place {
                query.centre = place_of(at + 1)?;
                from_member = true;
                at += 2;
            } else if searches && args.is(at, "FROMLONLAT") && left >= 2 && !from_member {
                query.centre = Some(place_at(args, at + 1)?);
                from_place = true;
                at += 3;
            } else if searches
                && args.is(at, "BYRADIUS")
                && left >= 2
                && !matches!(query.form, Some(Form::Box { .. }))
            {
                query.circle(args, at + 1)?;
                at += 3;
            } else if searches
                && args.is(at, "BYBOX")
                && left >= 3
                && !matches!(query.form, Some(Form::Circle { .. }))
            {
                query.rectangle(args, at + 1)?;
                at += 4;
            } else {
                at += query.option(args, at, which, stores)?;
            }
        }
        query.check(args, searches, from_member || from_place, which)?;
        Ok(query)
    }

    /// An option that all of these commands, or most, have; how many words it takes.
    fn option(
        &mut self,
        args: Args<'a>,
        at: usize,
        which: Which,
        stores: bool,
    ) -> Result<usize, ErrorKind> {
        let next = args.get(at + 1);
        if args.is(at, "WITHDIST") {
            self.with_distance = true;
        } else if args.is(at, "WITHHASH") {
            self.with_hash = true;
        } else if args.is(at, "WITHCOORD") {
            self.with_place = true;
        } else if args.is(at, "ANY") {
            self.any = true;
        } else if args.is(at, "ASC") {
            self.order = Some(Order::Near);
        } else if args.is(at, "DESC") {
            self.order = Some(Order::Far);
        } else if let (true, Some(count)) = (args.is(at, "COUNT"), next) {
            let count = usize::try_from(integer(count)?).ok().filter(|&it| it > 0);
            self.count = count.ok_or(ErrorKind::GeoCount)?;
            return Ok(2);
        } else if let (true, Some(key)) = (stores && args.is(at, "STORE"), next) {
            (self.store, self.store_distance) = (Some(key), false);
            return Ok(2);
        } else if let (true, Some(key)) = (stores && args.is(at, "STOREDIST"), next) {
            (self.store, self.store_distance) = (Some(key), true);
            return Ok(2);
        } else if which == Which::SearchStore && args.is(at, "STOREDIST") {
            self.store_distance = true;
        } else {
            return Err(ErrorKind::Syntax);
        }
        Ok(1)
    }

    /// A radius and its unit.
    fn circle(&mut self, args: Args<'_>, at: usize) -> Result<(), ErrorKind> {
        let radius = args.get(at).and_then(num::parse_f64).ok_or(ErrorKind::GeoRadius)?;
        if radius < 0.0 {
            return Err(ErrorKind::GeoRadiusNegative);
        }
        self.unit_m = args.get(at + 1).ok_or(ErrorKind::Syntax).and_then(unit)?;
        self.form = Some(Form::Circle { radius });
        Ok(())
    }

    /// Width, height and their unit.
    fn rectangle(&mut self, args: Args<'_>, at: usize) -> Result<(), ErrorKind> {
        let width = args.get(at).and_then(num::parse_f64).ok_or(ErrorKind::GeoWidth)?;
        let height = args.get(at + 1).and_then(num::parse_f64).ok_or(ErrorKind::GeoHeight)?;
        if width < 0.0 || height < 0.0 {
            return Err(ErrorKind::GeoBoxNegative);
        }
        self.unit_m = args.get(at + 2).ok_or(ErrorKind::Syntax).and_then(unit)?;
        self.form = Some(Form::Box { width, height });
        Ok(())
    }

    fn check(
        &self,
        args: Args<'_>,
        searches: bool,
        has_centre: bool,
        which: Which,
    ) -> Result<(), ErrorKind> {
        if self.store.is_some() && (self.with_distance || self.with_hash || self.with_place) {
            return Err(match which {
                Which::SearchStore => ErrorKind::GeosearchstoreWith,
                _ => ErrorKind::GeoradiusStore,
            });
        }
        if searches && !has_centre {
            return Err(ErrorKind::GeoFrom { command: args[0].into() });
        }
        if searches && self.form.is_none() {
            return Err(ErrorKind::GeoBy { command: args[0].into() });
        }
        if self.any && self.count == 0 {
            return Err(ErrorKind::GeoAny);
        }
        Ok(())
    }

    /// All places within, in the order that is asked for, or as they come.
    fn run(&self, scores: Scores<'_>, shape: &Shape) -> Vec<Found> {
        let mut found: Vec<Found> = Vec::new();
        let enough = if self.any { self.count } else { usize::MAX };
        for range in shape.ranges() {
            if found.len() >= enough {
                break;
            }
            let ranks =
                scores.between(|score, _| score < range.start, |score, _| score < range.end);
            scores.walk(ranks, false, &mut |member, score| {
                let place = Place::of_score(score);
                if let Some(distance) = shape.within(place) {
                    let member = member.text().to_vec();
                    found.push(Found { member, score, place, distance });
                }
                found.len() < enough
            });
        }
        // The nearest ones, where only some are wanted and not just any.
        let near = (self.count > 0 && !self.any).then_some(Order::Near);
        match self.order.or(near) {
            Some(Order::Near) => found.sort_by(|a, b| a.distance.total_cmp(&b.distance)),
            Some(Order::Far) => found.sort_by(|a, b| b.distance.total_cmp(&a.distance)),
            None => {}
        }
        if self.count > 0 {
            found.truncate(self.count);
        }
        found
    }

    fn reply(&self, reply: &mut Reply<'_>, found: &[Found]) {
        reply.array(found.len());
        let more = [self.with_distance, self.with_hash, self.with_place];
        let more = more.into_iter().filter(|it| *it).count();
        for it in found {
            if more > 0 {
                reply.array(1 + more);
            }
            reply.bulk(&it.member);
            if self.with_distance {
                reply_distance(reply, it.distance / self.unit_m);
            }
            if self.with_hash {
                #[expect(clippy::cast_possible_truncation, reason = "as Redis tells it")]
                reply.int(it.score as i64);
            }
            if self.with_place {
                reply_place(reply, it.place);
            }
        }
    }
}
