//! Places as numbers: 26 bits of longitude and 26 of latitude, interleaved, so that places near each other
//! mostly have scores near each other.
//!
//! ```text
//!   score   x25 y25 x24 y24 .. x0 y0      x: the longitude within -180..180, in 2^26 steps
//!                                         y: the latitude within the square of the Mercator map
//!   cell    the first 2 * step bits       all places whose scores begin so: a range of scores
//! ```
//!
//! A search looks through the cell of its centre and the eight around it, at the finest step at which they
//! cover the shape: the method, its constants, and what it does at the rims of the map are Redis 7.0's, for
//! the order of a reply shows them. Distances are by haversine on a sphere.
//!
//! Trap: doubles must be calculated in this order of operations, or distances differ in the last digit.

use std::ops::Range;

pub const LONGITUDE_MAX: f64 = 180.0;
/// Where the Mercator map, cut to a square, ends.
pub const LATITUDE_MAX: f64 = 85.051_128_78;
const STEP_MAX: u32 = 26;
const EARTH_RADIUS_M: f64 = 6_372_797.560_856;
/// Half of the map's width.
const MERCATOR_MAX_M: f64 = 20_037_726.37;
const DEGREE: f64 = std::f64::consts::PI / 180.0;

/// A place in degrees.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Place {
    pub longitude: f64,
    pub latitude: f64,
}

/// What is searched, around its centre; lengths in the unit of the request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shape {
    pub centre: Place,
    pub form: Form,
    /// Metres of the unit.
    pub unit_m: f64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Form {
    Circle { radius: f64 },
    Box { width: f64, height: f64 },
}

/// A cell of the map at some step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cell {
    x: u32,
    y: u32,
    step: u32,
}

/// The edges of a cell or of a shape, in degrees.
struct Edges {
    west: f64,
    east: f64,
    south: f64,
    north: f64,
}

impl Place {
    /// The score of this place.
    #[must_use]
    pub fn score(self) -> f64 {
        Cell::of(self, STEP_MAX, LATITUDE_MAX).bits() as f64
    }

    /// The place of a score; any number is one.
    #[must_use]
    pub fn of_score(score: f64) -> Self {
        let edges = Cell::of_bits(as_c_converts(score)).edges();
        let middle = |low: f64, high: f64, max: f64| f64::midpoint(low, high).clamp(-max, max);
        Self {
            longitude: middle(edges.west, edges.east, LONGITUDE_MAX),
            latitude: middle(edges.south, edges.north, LATITUDE_MAX),
        }
    }

    /// The geohash of the rest of the world, whose latitudes reach to the poles. Of its eleven characters
    /// 52 bits give ten.
    #[must_use]
    pub fn geohash(self) -> [u8; 11] {
        const ALPHABET: &[u8; 32] = b"0123456789bcdefghjkmnpqrstuvwxyz";
        let bits = Cell::of(self, STEP_MAX, 90.0).bits();
        let mut text = [ALPHABET[0]; 11];
        for (at, character) in text[..10].iter_mut().enumerate() {
            *character = ALPHABET[(bits >> (47 - 5 * at) & 0x1f) as usize];
        }
        text
    }

    /// Metres between two places.
    #[must_use]
    pub fn distance(self, other: Self) -> f64 {
        let (latitude, other_latitude) = (self.latitude * DEGREE, other.latitude * DEGREE);
        let (longitude, other_longitude) = (self.longitude * DEGREE, other.longitude * DEGREE);
        let u = ((other_latitude - latitude) / 2.0).sin();
        let v = ((other_longitude - longitude) / 2.0).sin();
        let square = u * u + latitude.cos() * other_latitude.cos() * v * v;
        2.0 * EARTH_RADIUS_M * square.sqrt().asin()
    }
}

impl Shape {
    /// How far a place is from the centre, in metres, if it is within.
    #[must_use]
    pub fn within(&self, place: Place) -> Option<f64> {
        let inside = match self.form {
            Form::Circle { radius } => {
                let distance = self.centre.distance(place);
                return (distance <= radius * self.unit_m).then_some(distance);
            }
            Form::Box { width, height } => {
                let (width, height) = (width * self.unit_m, height * self.unit_m);
                let across = Place { longitude: self.centre.longitude, ..place };
                let along = Place { latitude: self.centre.latitude, ..place };
                place.distance(across) <= width / 2.0 && place.distance(along) <= height / 2.0
            }
        };
        inside.then(|| self.centre.distance(place))
    }

    /// Ranges of scores that have all places within, in the order in which they are searched. A huge shape
    /// may have one twice.
    #[must_use]
    pub fn ranges(&self) -> Vec<Range<f64>> {
        let edges = self.edges();
        let mut step = self.step();
        let mut cell = Cell::of(self.centre, step, LATITUDE_MAX);
        let covered = cell.beside(0, 1).edges().north >= edges.north
            && cell.beside(0, -1).edges().south <= edges.south
            && cell.beside(1, 0).edges().east >= edges.east
            && cell.beside(-1, 0).edges().west <= edges.west;
        if step > 1 && !covered {
            step -= 1;
            cell = Cell::of(self.centre, step, LATITUDE_MAX);
        }
        let own = cell.edges();
        let is_needed = |dx: i32, dy: i32| {
            let beyond = dy < 0 && own.south < edges.south
                || dy > 0 && own.north > edges.north
                || dx < 0 && own.west < edges.west
                || dx > 0 && own.east > edges.east;
            step < 2 || !beyond
        };
        let around = [(0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (-1, 1), (1, -1), (-1, -1)];
        let mut ranges = vec![cell.scores()];
        let mut last = None;
        for (dx, dy) in around {
            let next = cell.beside(dx, dy);
            // Redis compares with the neighbour before, never with the centre.
            if is_needed(dx, dy) && last != Some(next) {
                ranges.push(next.scores());
                last = Some(next);
            }
        }
        ranges
    }

    /// The edges of a box around all of it; it is wider towards the pole.
    fn edges(&self) -> Edges {
        let Place { longitude, latitude } = self.centre;
        let (width, height) = match self.form {
            Form::Circle { radius } => (radius, radius),
            Form::Box { width, height } => (width / 2.0, height / 2.0),
        };
        let (width, height) = (self.unit_m * width, self.unit_m * height);
        let up = height / EARTH_RADIUS_M / DEGREE;
        let far = if latitude < 0.0 { latitude - up } else { latitude + up };
        let aside = width / EARTH_RADIUS_M / (far * DEGREE).cos() / DEGREE;
        Edges {
            west: longitude - aside,
            east: longitude + aside,
            south: latitude - up,
            north: latitude + up,
        }
    }

    /// The step at which cells are about as large as the shape.
    fn step(&self) -> u32 {
        let radius = match self.form {
            Form::Circle { radius } => radius,
            Form::Box { width, height } => {
                ((width / 2.0) * (width / 2.0) + (height / 2.0) * (height / 2.0)).sqrt()
            }
        };
        let mut range = radius * self.unit_m;
        if range == 0.0 {
            return STEP_MAX;
        }
        let mut step = 1_u32;
        while range < MERCATOR_MAX_M {
            range *= 2.0;
            step += 1;
        }
        // Degrees of longitude are short towards the poles.
        let coarser = match self.centre.latitude.abs() {
            latitude if latitude > 80.0 => 4,
            latitude if latitude > 66.0 => 3,
            _ => 2,
        };
        step.saturating_sub(coarser).clamp(1, STEP_MAX)
    }
}

impl Cell {
    /// The cell of a place, on a map that reaches up and down to this latitude.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most 2^26")]
    fn of(place: Place, step: u32, latitude_max: f64) -> Self {
        let cells = f64::from(1_u32 << step);
        let part = |degrees: f64, max: f64| ((degrees + max) / (max + max) * cells) as u32;
        let (x, y) = (part(place.longitude, LONGITUDE_MAX), part(place.latitude, latitude_max));
        Self { x, y, step }
    }

    fn of_bits(bits: u64) -> Self {
        Self { x: every_second(bits >> 1), y: every_second(bits), step: STEP_MAX }
    }

    fn bits(self) -> u64 {
        spread(self.y) | spread(self.x) << 1
    }

    /// Scores of the places in it.
    fn scores(self) -> Range<f64> {
        let shift = 2 * (STEP_MAX - self.step);
        ((self.bits() << shift) as f64)..(((self.bits() + 1) << shift) as f64)
    }

    /// A neighbour; beyond the rim of the map it goes on at the other one.
    fn beside(self, dx: i32, dy: i32) -> Self {
        let mask = (1 << self.step) - 1;
        let moved = |at: u32, by: i32| {
            // At the very rim a cell lies outside; it is left there where it does not move.
            if by == 0 { at } else { at.wrapping_add_signed(by) & mask }
        };
        Self { x: moved(self.x, dx), y: moved(self.y, dy), step: self.step }
    }

    fn edges(self) -> Edges {
        let cells = f64::from(1_u32 << self.step);
        let edge = |part: u32, max: f64| -max + (f64::from(part) / cells) * (max + max);
        Edges {
            west: edge(self.x, LONGITUDE_MAX),
            east: edge(self.x.wrapping_add(1), LONGITUDE_MAX),
            south: edge(self.y, LATITUDE_MAX),
            north: edge(self.y.wrapping_add(1), LATITUDE_MAX),
        }
    }
}

/// The bits of a number at every second place (Hacker's Delight, 7-2).
fn spread(number: u32) -> u64 {
    let mut bits = u64::from(number);
    bits = (bits | bits << 16) & 0x0000_ffff_0000_ffff;
    bits = (bits | bits << 8) & 0x00ff_00ff_00ff_00ff;
    bits = (bits | bits << 4) & 0x0f0f_0f0f_0f0f_0f0f;
    bits = (bits | bits << 2) & 0x3333_3333_3333_3333;
    (bits | bits << 1) & 0x5555_5555_5555_5555
}

/// The reverse of [`spread`].
#[expect(clippy::cast_possible_truncation, reason = "32 bits are left")]
fn every_second(bits: u64) -> u32 {
    let mut bits = bits & 0x5555_5555_5555_5555;
    bits = (bits | bits >> 1) & 0x3333_3333_3333_3333;
    bits = (bits | bits >> 2) & 0x0f0f_0f0f_0f0f_0f0f;
    bits = (bits | bits >> 4) & 0x00ff_00ff_00ff_00ff;
    bits = (bits | bits >> 8) & 0x0000_ffff_0000_ffff;
    (bits | bits >> 16) as u32
}

/// As a C compiler makes an unsigned integer of a double on x86-64: scores need not be places.
#[expect(clippy::cast_possible_truncation, reason = "the very subject")]
fn as_c_converts(score: f64) -> u64 {
    const HALF: f64 = (1_u64 << 63) as f64;
    if score < HALF {
        return (score as i64).cast_unsigned();
    }
    let rest = score - HALF;
    let rest = if rest < HALF { rest as i64 } else { i64::MIN };
    rest.cast_unsigned() ^ 1 << 63
}

#[cfg(test)]
mod tests {
    use super::*;

    const PALERMO: Place = Place { longitude: 13.361_389, latitude: 38.115_556 };
    const CATANIA: Place = Place { longitude: 15.087_269, latitude: 37.502_669 };

    /// As redis-server 7.0.15 has them.
    #[test]
    fn places_scores_and_distances_are_those_of_redis() {
        assert_eq!(PALERMO.score(), 3_479_099_956_230_698.0);
        let (palermo, catania) =
            (Place::of_score(3_479_099_956_230_698.0), Place::of_score(3_479_447_370_796_909.0));
        assert_eq!(format!("{:.17}", palermo.longitude), "13.36138933897018433");
        assert_eq!(format!("{:.17}", palermo.latitude), "38.11555639549629859");
        assert_eq!(format!("{:.4}", palermo.distance(catania)), "166274.1516");
        assert_eq!(&palermo.geohash(), b"sqc8b49rny0");
        assert_eq!(&catania.geohash(), b"sqdtr74hyu0");
    }

    #[test]
    fn any_number_is_a_place() {
        assert_eq!(as_c_converts(-1.0), u64::MAX);
        assert_eq!(as_c_converts(f64::NEG_INFINITY), 1 << 63);
        assert_eq!(as_c_converts(f64::INFINITY), 0);
        assert_eq!(as_c_converts((1_u64 << 63) as f64), 1 << 63);
        assert_eq!(as_c_converts(3.9), 3);
        for score in [f64::INFINITY, -1e300, 1e18, -1.0, 0.0, 0.5] {
            let place = Place::of_score(score);
            assert!(place.longitude.abs() <= LONGITUDE_MAX && place.latitude.abs() <= LATITUDE_MAX);
        }
    }

    #[test]
    fn bits_spread_and_come_back() {
        for number in [0, 1, 2, 0x1234_5678, u32::MAX] {
            assert_eq!(every_second(spread(number)), number);
            assert_eq!(every_second(spread(number) << 1), 0);
        }
    }

    /// Whatever is within the shape is within one of the ranges, unless the shape leaves the map.
    #[test]
    fn the_ranges_cover_the_shape() {
        for (radius, latitude) in
            [(1.0, 0.0), (5_000.0, 50.0), (300_000.0, -60.0), (90_000.0, 70.0)]
        {
            let centre = Place { longitude: 20.0, latitude };
            let shape = Shape { centre, form: Form::Circle { radius }, unit_m: 1.0 };
            let ranges = shape.ranges();
            for angle in 0..360 {
                let angle = f64::from(angle) * DEGREE;
                let up = radius * 0.99 / EARTH_RADIUS_M / DEGREE;
                let place = Place {
                    longitude: centre.longitude + up * angle.sin() / (latitude * DEGREE).cos(),
                    latitude: centre.latitude + up * angle.cos(),
                };
                if shape.within(place).is_some() {
                    assert!(ranges.iter().any(|range| range.contains(&place.score())), "{place:?}");
                }
            }
        }
        let shape = |form| Shape { centre: PALERMO, form, unit_m: 1_000.0 };
        assert!(shape(Form::Circle { radius: 166.0 }).within(CATANIA).is_none());
        assert!(shape(Form::Circle { radius: 167.0 }).within(CATANIA).is_some());
        assert!(shape(Form::Box { width: 305.0, height: 137.0 }).within(CATANIA).is_some());
        assert!(shape(Form::Box { width: 304.0, height: 137.0 }).within(CATANIA).is_none());
        assert!(shape(Form::Box { width: 305.0, height: 136.0 }).within(CATANIA).is_none());
    }
}
