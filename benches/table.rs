//! What a key costs: time per GET and SET at a million keys, the pauses of growth, and memory.
//!
//! Windows do what `node/client.rs` does with a turn's requests: hash all and hint their buckets, hint
//! their records, then execute in order. Memory is the growth of the resident set, so this file reads
//! `/proc/self/statm`; the worst single operations are printed as they were, since a mean would hide them,
//! in CPU time of this thread, since whoever else runs here is not theirs.
//!
//! `cargo bench --bench table` times; with `-- --tables` it prints memory and pauses instead.

#![expect(missing_docs, reason = "criterion's macros make undocumented functions")]
#![expect(clippy::unwrap_used, reason = "a bench may panic")]
#![expect(clippy::print_stdout, reason = "the tables are for reading")]

use criterion::{Criterion, Throughput, criterion_group};
use ringfold::base::prng::Prng;
use ringfold::base::time::Wall;
use ringfold::engine::keyspace::{Expiry, Keyspace};
use ringfold::types::record::{Encode, Encoding};
use ringfold::types::store::{Hasher, Store, Value};
use ringfold::types::table::Table;
use std::hint::black_box;
use std::time::Duration;

const KEYS: u64 = 1_000_000;
const WINDOW: usize = 64;
const NOW: Wall = Wall(1_700_000_000_000_000);
const SEED: [u64; 4] = [1, 2, 3, 4];

type Name = [u8; 16];

/// Names and values in no order that the table could know of.
fn name(number: u64) -> Name {
    let mut prng = Prng::new(number);
    let (a, b) = (prng.next_u64(), prng.next_u64());
    (u128::from(a) << 64 | u128::from(b)).to_le_bytes()
}

fn set(keyspace: &mut Keyspace, name: &Name, value: &Name) {
    let key = keyspace.key(name);
    keyspace.set(0, key, value, Expiry::None, Encode::Auto, NOW).unwrap();
}

fn filled(keys: u64) -> Keyspace {
    let mut keyspace = Keyspace::new(16, SEED);
    (0..keys).for_each(|n| set(&mut keyspace, &name(n), &name(n + 1)));
    keyspace
}

/// All names, shuffled, so that one window's keys lie anywhere.
fn shuffled(keys: u64) -> Vec<Name> {
    let mut prng = Prng::new(7);
    let mut names: Vec<Name> = (0..keys).map(name).collect();
    for at in (1..names.len()).rev() {
        names.swap(at, usize::try_from(prng.below(at as u64 + 1)).unwrap());
    }
    names
}

fn window(keyspace: &mut Keyspace, names: &[Name], mut each: impl FnMut(&mut Keyspace, &Name)) {
    let mut hashes = [0; WINDOW];
    for (hash, name) in hashes.iter_mut().zip(names) {
        *hash = keyspace.hash(name);
        keyspace.prefetch_bucket(0, *hash);
    }
    hashes.iter().for_each(|&hash| keyspace.prefetch_record(0, hash));
    names.iter().for_each(|name| each(keyspace, name));
}

/// As the command does: hash the key, find it, copy its value to the reply.
fn get(keyspace: &mut Keyspace, name: &Name, out: &mut Vec<u8>) {
    let key = keyspace.key(name);
    if let Ok(Some(value)) = keyspace.get(0, key, NOW) {
        out.extend_from_slice(value.bytes());
    }
}

fn operations(criterion: &mut Criterion) {
    let names = shuffled(KEYS);
    let mut keyspace = filled(KEYS);
    let mut windows = names.chunks_exact(WINDOW).cycle();
    let mut out = Vec::with_capacity(WINDOW * size_of::<Name>());
    let mut group = criterion.benchmark_group("table");
    group.throughput(Throughput::Elements(WINDOW as u64));
    group.bench_function("get_alone", |bencher| {
        bencher.iter(|| {
            out.clear();
            windows.next().unwrap().iter().for_each(|it| get(&mut keyspace, it, &mut out));
            black_box(&out);
        });
    });
    group.bench_function("get_window", |bencher| {
        bencher.iter(|| {
            out.clear();
            window(&mut keyspace, windows.next().unwrap(), |keyspace, it| {
                get(keyspace, it, &mut out);
            });
            black_box(&out);
        });
    });
    group.bench_function("set_alone", |bencher| {
        bencher.iter(|| {
            let names = windows.next().unwrap();
            names.iter().for_each(|it| set(&mut keyspace, it, it));
        });
    });
    group.bench_function("set_window", |bencher| {
        bencher.iter(|| {
            window(&mut keyspace, windows.next().unwrap(), |keyspace, it| set(keyspace, it, it));
        });
    });
    group.finish();
}

/// New keys, in windows, with the segment splits that they cause.
fn growth(criterion: &mut Criterion) {
    let names = shuffled(KEYS);
    let mut group = criterion.benchmark_group("table");
    group.throughput(Throughput::Elements(KEYS)).sample_size(10);
    group.bench_function("insert_window", |bencher| {
        bencher.iter_with_large_drop(|| {
            let mut keyspace = Keyspace::new(16, SEED);
            for names in names.chunks(WINDOW) {
                window(&mut keyspace, names, |keyspace, it| set(keyspace, it, it));
            }
            keyspace
        });
    });
    group.finish();
}

/// The longest inserts by what made them long, at 5 million keys.
fn pauses() {
    let mut store = Store::new(Hasher::new(SEED));
    let mut table = Table::default();
    let (mut splits, mut plain) = (Vec::new(), Vec::new());
    println!("directory entries | the insert that doubled it");
    for n in 0..5 * KEYS {
        let name = name(n);
        let hash = store.hasher().hash(&name);
        let (segments, directory) = (store.segments.used_bytes(), table.directory_bytes());
        let start = cpu_time();
        let record = store.create(&name, Value::Bytes(&name), Encoding::Raw, None).unwrap();
        table.insert(&mut store, hash, record, false, 0).unwrap();
        let took = cpu_time() - start;
        if table.directory_bytes() != directory {
            println!("{:17} | {took:?}", table.directory_bytes() / 4);
        } else if store.segments.used_bytes() != segments {
            splits.push(took);
        } else {
            plain.push(took);
        }
    }
    for (what, times) in [("split", &mut splits), ("plain", &mut plain)] {
        times.sort_unstable();
        let at = |per_mille: usize| times[(times.len() - 1) * per_mille / 1_000];
        let (middle, most, max) = (at(500), at(999), at(1_000));
        println!("{what}: {} times, median {middle:?}, p99.9 {most:?}, max {max:?}", times.len());
    }
}

/// Resident bytes per key while the table grows, and what stays after a flush.
fn memory() {
    let base = resident();
    let mut keyspace = Keyspace::new(16, SEED);
    let (mut best, mut worst) = ((f64::MAX, 0), (0.0, 0));
    println!("     keys | resident bytes per key | as the keyspace counts");
    for n in 1..=5 * KEYS {
        set(&mut keyspace, &name(n), &name(n + 1));
        if n % 50_000 == 0 && n >= KEYS {
            let per_key = (resident() - base) as f64 / n as f64;
            best = if per_key < best.0 { (per_key, n) } else { best };
            worst = if per_key > worst.0 { (per_key, n) } else { worst };
            if n % KEYS == 0 {
                let counted = keyspace.used_bytes() as f64 / n as f64;
                println!("{n:9} | {per_key:22.1} | {counted:.1}");
            }
        }
    }
    println!("best {:.1} at {}, worst {:.1} at {}", best.0, best.1, worst.0, worst.1);
    let (full, start) = (resident() - base, cpu_time());
    keyspace.flush_all();
    let (flushed, mut longest, mut slices) = (cpu_time() - start, Duration::ZERO, 0);
    loop {
        let start = cpu_time();
        let more = keyspace.collect(500);
        longest = longest.max(cpu_time() - start);
        slices += 1;
        if !more {
            break;
        }
    }
    let left = resident().saturating_sub(base);
    println!("flush: {flushed:?}, then {slices} slices of 500 records, the longest {longest:?}");
    println!("resident: {} MiB full, {} MiB after the flush", full >> 20, left >> 20);
}

fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4_096
}

fn cpu_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a live timespec of our own, which is all that the call writes to.
    #[expect(unsafe_code, reason = "std has no clock of CPU time")]
    let failed = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    assert_eq!(failed, 0);
    Duration::new(time.tv_sec.try_into().unwrap(), time.tv_nsec.try_into().unwrap())
}

criterion_group!(benches, operations, growth);

fn main() {
    if std::env::args().any(|it| it == "--tables") {
        memory();
        pauses();
        return;
    }
    benches();
    Criterion::default().configure_from_args().final_summary();
}
