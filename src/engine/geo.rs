//! Geo commands: places in a sorted set, whose scores tell where they are. The table is this file's contents
//! page; each row names one function, here or in `geo/search.rs` (what looks for places).
//!
//! Effects are those of redis-server 7.0 (`tests/golden/geo-7.0.15.txt`): `GEOADD` as the `ZADD` of its scores,
//! what keeps a result as it came.
//!
//! Not here: how a place becomes a score, and which scores a shape covers (`geo/hash.rs`).

use crate::base::num::{self, Digits};
use crate::command::args::Args;
use crate::command::arguments::{Argument, KEY, Kind};
use crate::command::spec::Arity::AtLeast;
use crate::command::spec::{Command, Flags, Group, Hop, KeyFlags, KeySpec, Spec};
use crate::engine::shard::{Cx, ShardFn};
use crate::engine::sorted_sets::add::{self, Adding};
use crate::resp::error::ErrorKind;
use crate::resp::reply::{Proto, Reply};
use crate::types::record;
use crate::types::scores::Scores;
use hash::{LATITUDE_MAX, LONGITUDE_MAX, Place};
use search::{
    georadius, georadius_ro, georadiusbymember, georadiusbymember_ro, geosearch, geosearchstore,
};

mod hash;
mod search;

const READ: Flags = Flags::READONLY;
const GROWS: Flags = Flags::WRITE.and(Flags::DENYOOM);

const RO: KeyFlags = KeyFlags::RO;
const RW: KeyFlags = KeyFlags::RW;
const OW: KeyFlags = KeyFlags::OW;
const ACCESS: KeyFlags = KeyFlags::ACCESS;
const UPDATE: KeyFlags = KeyFlags::UPDATE;

const LONGITUDE: Argument = Argument::new(Kind::Double, "longitude");
const LATITUDE: Argument = Argument::new(Kind::Double, "latitude");
const UNIT: Argument = Argument::one_of(
    "unit",
    &[
        Argument::word("m", "M"),
        Argument::word("km", "KM"),
        Argument::word("ft", "FT"),
        Argument::word("mi", "MI"),
    ],
);
const ORDER: Argument =
    Argument::one_of("order", &[Argument::word("asc", "ASC"), Argument::word("desc", "DESC")])
        .optional();
const COUNT: Argument = Argument::block(
    "count",
    &[Argument::integer("count").token("COUNT"), Argument::word("any", "ANY").optional()],
)
.optional();
/// Of commands that are older than `ANY`.
const COUNT_OF_OLD: Argument = Argument::block(
    "count",
    &[
        Argument::integer("count").token("COUNT"),
        Argument::word("any", "ANY").since("6.2.0").optional(),
    ],
)
.optional();
const FROM: Argument = Argument::one_of(
    "from",
    &[
        Argument::string("member").token("FROMMEMBER"),
        Argument::block("longitude_latitude", &[LONGITUDE, LATITUDE]).token("FROMLONLAT"),
    ],
);
const BY: Argument = Argument::one_of(
    "by",
    &[
        Argument::block("circle", &[Argument::new(Kind::Double, "radius").token("BYRADIUS"), UNIT]),
        Argument::block(
            "box",
            &[
                Argument::new(Kind::Double, "width").token("BYBOX"),
                Argument::new(Kind::Double, "height"),
                UNIT,
            ],
        ),
    ],
);
const RADIUS: Argument = Argument::new(Kind::Double, "radius");
const WITHCOORD: Argument = Argument::word("withcoord", "WITHCOORD").optional();
const WITHDIST: Argument = Argument::word("withdist", "WITHDIST").optional();
const WITHHASH: Argument = Argument::word("withhash", "WITHHASH").optional();
const STORE: Argument = Argument::key("key", 1).token("STORE").optional();
const STOREDIST: Argument = Argument::key("key", 2).token("STOREDIST").optional();

#[rustfmt::skip] // The first line of a row is what decides, the next ones document.
pub const COMMANDS: &[Command<ShardFn>] = &[
    Command::new(Spec::new("GEOADD", AtLeast(5), GROWS, &[KeySpec::at(1, RW.and(UPDATE))])
        .about(Group::Geo, "3.2.0", "O(log(N))", "Adds places to a sorted set, or moves them")
        .takes(&[
            KEY,
            Argument::one_of("condition", &[Argument::word("nx", "NX"), Argument::word("xx", "XX")]).since("6.2.0").optional(),
            Argument::word("change", "CH").since("6.2.0").optional(),
            Argument::block("longitude_latitude_member", &[LONGITUDE, LATITUDE, Argument::string("member")]).multiple(),
        ]), geoadd),
    Command::new(Spec::new("GEODIST", AtLeast(4), READ, &[KeySpec::at(1, RO.and(ACCESS))])
        .about(Group::Geo, "3.2.0", "O(log(N))", "How far one place is from another")
        .takes(&[KEY, Argument::string("member1"), Argument::string("member2"), UNIT.optional()]), geodist),
    Command::new(Spec::new("GEOHASH", AtLeast(2), READ, &[KeySpec::at(1, RO.and(ACCESS))])
        .about(Group::Geo, "3.2.0", "O(log(N))", "Places as geohash texts")
        .takes(&[KEY, Argument::string("member").multiple()]), geohash),
    Command::new(Spec::new("GEOPOS", AtLeast(2), READ, &[KeySpec::at(1, RO.and(ACCESS))])
        .about(Group::Geo, "3.2.0", "O(N)", "Where places are")
        .takes(&[KEY, Argument::string("member").multiple()]), geopos),
    Command::new(Spec::new("GEORADIUS", AtLeast(6), GROWS.and(Flags::MOVABLEKEYS), &[KeySpec::at(1, RO.and(ACCESS)), KeySpec::keyword("STORE", 6, OW.and(UPDATE)), KeySpec::keyword("STOREDIST", 6, OW.and(UPDATE))])
        .about(Group::Geo, "3.2.0", "O(N+log(M))", "The places within a circle around a point")
        .deprecated("6.2.0", "`GEOSEARCH` and `GEOSEARCHSTORE` with the `BYRADIUS` argument")
        .takes(&[KEY, LONGITUDE, LATITUDE, RADIUS, UNIT, WITHCOORD, WITHDIST, WITHHASH, COUNT_OF_OLD, ORDER, STORE, STOREDIST])
        .hop(Hop::Exclusive), georadius),
    Command::new(Spec::new("GEORADIUS_RO", AtLeast(6), READ, &[KeySpec::at(1, RO.and(ACCESS))])
        .about(Group::Geo, "3.2.10", "O(N+log(M))", "The places within a circle around a point, without keeping them")
        .deprecated("6.2.0", "`GEOSEARCH` with the `BYRADIUS` argument")
        .takes(&[KEY, LONGITUDE, LATITUDE, RADIUS, UNIT, WITHCOORD, WITHDIST, WITHHASH, COUNT_OF_OLD, ORDER]), georadius_ro),
    Command::new(Spec::new("GEORADIUSBYMEMBER", AtLeast(5), GROWS.and(Flags::MOVABLEKEYS), &[KeySpec::at(1, RO.and(ACCESS)), KeySpec::keyword("STORE", 5, OW.and(UPDATE)), KeySpec::keyword("STOREDIST", 5, OW.and(UPDATE))])
        .about(Group::Geo, "3.2.0", "O(N+log(M))", "The places within a circle around another place")
        .deprecated("6.2.0", "`GEOSEARCH` and `GEOSEARCHSTORE` with the `BYRADIUS` and `FROMMEMBER` arguments")
        .takes(&[KEY, Argument::string("member"), RADIUS, UNIT, WITHCOORD, WITHDIST, WITHHASH, COUNT, ORDER, STORE, STOREDIST])
        .hop(Hop::Exclusive), georadiusbymember),
    Command::new(Spec::new("GEORADIUSBYMEMBER_RO", AtLeast(5), READ, &[KeySpec::at(1, RO.and(ACCESS))])
        .about(Group::Geo, "3.2.10", "O(N+log(M))", "The places within a circle around another place, without keeping them")
        .deprecated("6.2.0", "`GEOSEARCH` with the `BYRADIUS` and `FROMMEMBER` arguments")
        .takes(&[KEY, Argument::string("member"), RADIUS, UNIT, WITHCOORD, WITHDIST, WITHHASH, COUNT, ORDER]), georadiusbymember_ro),
    Command::new(Spec::new("GEOSEARCH", AtLeast(7), READ, &[KeySpec::at(1, RO.and(ACCESS))])
        .about(Group::Geo, "6.2.0", "O(N+log(M))", "The places within a circle or a box")
        .takes(&[KEY, FROM, BY, ORDER, COUNT, WITHCOORD, WITHDIST, WITHHASH]), geosearch),
    Command::new(Spec::new("GEOSEARCHSTORE", AtLeast(8), GROWS, &[KeySpec::at(1, OW.and(UPDATE)), KeySpec::at(2, RO.and(ACCESS))])
        .about(Group::Geo, "6.2.0", "O(N+log(M))", "Keeps the places within a circle or a box")
        .takes(&[
            Argument::key("destination", 0),
            Argument::key("source", 1),
            FROM,
            BY,
            ORDER,
            COUNT,
            Argument::word("storedist", "STOREDIST").optional(),
        ])
        .hop(Hop::Exclusive), geosearchstore),
];

/// `GEOADD key [NX | XX] [CH] longitude latitude member [longitude latitude member ...]`
fn geoadd(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let (mut how, mut at) = (Adding::default(), 2);
    while at < args.len() {
        match &args[at] {
            word if word.eq_ignore_ascii_case(b"NX") => how.new_only = true,
            word if word.eq_ignore_ascii_case(b"XX") => how.old_only = true,
            word if word.eq_ignore_ascii_case(b"CH") => how.count_changed = true,
            _ => break,
        }
        at += 1;
    }
    let words = args.len() - at;
    if words == 0 || !words.is_multiple_of(3) || how.new_only && how.old_only {
        return Err(ErrorKind::Syntax);
    }
    let mut scores = Vec::with_capacity(words / 3);
    for place in (at..args.len()).step_by(3) {
        scores.push(place_at(args, place)?.score());
    }
    let members = args.from(at + 2).step_by(3);
    let changed = add::add(cx, args.key(), how, scores.iter().copied().zip(members.clone()))?;
    if changed > 0 {
        #[expect(clippy::cast_possible_truncation, reason = "a score is an integer of 54 bits")]
        let texts: Vec<Digits> = scores.iter().map(|&it| Digits::new(it as i64)).collect();
        let mut request: Vec<&[u8]> = vec![b"zadd"];
        request.extend(args.from(1).take(at - 1));
        for (score, member) in texts.iter().zip(members) {
            request.extend([score.as_bytes(), member]);
        }
        cx.effect.command(cx.db, &request);
        cx.effect.changed(changed as u64 - 1);
    }
    Ok(())
}

/// `GEOPOS key [member ...]`
fn geopos(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    each_place(cx, args, |reply, place| match place {
        Some(place) => reply_place(reply, place),
        None => reply.null_array(),
    })
}

/// `GEOHASH key [member ...]`
fn geohash(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    each_place(cx, args, |reply, place| match place {
        Some(place) => reply.bulk(&place.geohash()),
        None => reply.null(),
    })
}

fn each_place(
    cx: &mut Cx<'_>,
    args: Args<'_>,
    tell: impl Fn(&mut Reply<'_>, Option<Place>),
) -> Result<(), ErrorKind> {
    let (key, hasher) = (cx.key(args.key()), cx.keyspace.hasher());
    let value = cx.keyspace.read(cx.db, key, record::Kind::ZSet, cx.now)?;
    let scores = value.map(Scores::of);
    cx.reply.array(args.len() - 2);
    for member in args.from(2) {
        let score = scores.and_then(|it| it.score(|member| hasher.hash(member), member));
        tell(&mut cx.reply, score.map(Place::of_score));
    }
    Ok(())
}

/// `GEODIST key member1 member2 [M | KM | FT | MI]`
fn geodist(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let unit_m = match args.len() {
        4 => 1.0,
        5 => unit(&args[4])?,
        _ => return Err(ErrorKind::Syntax),
    };
    let (key, hasher) = (cx.key(args.key()), cx.keyspace.hasher());
    let value = cx.keyspace.read(cx.db, key, record::Kind::ZSet, cx.now)?;
    let place = |member: &[u8]| {
        let score = Scores::of(value?).score(|member| hasher.hash(member), member)?;
        Some(Place::of_score(score))
    };
    match (place(&args[2]), place(&args[3])) {
        (Some(from), Some(to)) => reply_distance(&mut cx.reply, from.distance(to) / unit_m),
        _ => cx.reply.null(),
    }
    Ok(())
}

/// A longitude and the latitude behind it.
fn place_at(args: Args<'_>, at: usize) -> Result<Place, ErrorKind> {
    let number = |at: usize| args.get(at).and_then(num::parse_f64).ok_or(ErrorKind::NotAFloat);
    let (longitude, latitude) = (number(at)?, number(at + 1)?);
    if longitude.abs() > LONGITUDE_MAX || latitude.abs() > LATITUDE_MAX {
        let pair = format!("{longitude:.6},{latitude:.6}").into_bytes().into();
        return Err(ErrorKind::GeoPair { pair });
    }
    Ok(Place { longitude, latitude })
}

/// Metres of a unit.
fn unit(word: &[u8]) -> Result<f64, ErrorKind> {
    match word {
        word if word.eq_ignore_ascii_case(b"M") => Ok(1.0),
        word if word.eq_ignore_ascii_case(b"KM") => Ok(1_000.0),
        word if word.eq_ignore_ascii_case(b"FT") => Ok(0.304_8),
        word if word.eq_ignore_ascii_case(b"MI") => Ok(1_609.34),
        _ => Err(ErrorKind::GeoUnit),
    }
}

fn reply_distance(reply: &mut Reply<'_>, distance: f64) {
    reply.bulk(format!("{distance:.4}").as_bytes());
}

/// Longitude and latitude with 17 places behind the point, without the zeros at the end.
fn reply_place(reply: &mut Reply<'_>, place: Place) {
    reply.array(2);
    for degrees in [place.longitude, place.latitude] {
        let text = format!("{degrees:.17}");
        let text = text.trim_end_matches('0').trim_end_matches('.');
        let text = if text == "-0" { "0" } else { text };
        match reply.proto {
            Proto::Resp2 => reply.bulk(text.as_bytes()),
            Proto::Resp3 => {
                reply.raw(b",");
                reply.raw(text.as_bytes());
                reply.raw(b"\r\n");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::engine::transcript;

    /// Requests, replies and effects as redis-server 7.0.15 gave them.
    #[test]
    fn replies_and_effects_are_those_of_redis() {
        transcript::check(include_str!("../../tests/golden/geo-7.0.15.txt"));
    }
}
