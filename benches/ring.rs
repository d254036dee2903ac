//! What the stream costs a core: encoding a write into its log, merging batches, reading the ring.
//!
//! Every benchmark ends in a checksum or an assertion, so that the work cannot be optimised away.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ringfold::replication::log::Log;
use ringfold::replication::merge::Merger;
use ringfold::replication::ring::Ring;

const WRITES: u64 = 64;
const VALUE: &[u8] = &[b'v'; 64];

fn fill(log: &mut Log) {
    for key in 0..WRITES {
        log.append_request(0, &[b"SET", &key.to_le_bytes(), VALUE]);
    }
}

fn append(c: &mut Criterion) {
    let mut group = c.benchmark_group("log");
    group.throughput(Throughput::Elements(WRITES));
    for active in [false, true] {
        group.bench_function(if active { "active" } else { "inactive" }, |bench| {
            let mut log = Log::new(active);
            bench.iter(|| {
                fill(&mut log);
                if !log.is_empty() {
                    let bytes = log.seal(1).bytes;
                    black_box(bytes.len());
                    log.recycle(bytes);
                }
            });
        });
    }
    group.finish();
}

fn merge(c: &mut Criterion) {
    let mut group = c.benchmark_group("merge");
    group.throughput(Throughput::Elements(WRITES));
    group.bench_function("a turn of 64 writes, log to ring", |bench| {
        let (mut log, mut merger, mut ring) = (Log::new(true), Merger::new(0), Ring::new(0));
        let (mut used, mut ticket) = (Vec::new(), 0);
        bench.iter(|| {
            ticket += 1;
            fill(&mut log);
            merger.push(log.seal(ticket));
            merger.merge_into(&mut ring, &mut used);
            used.drain(..).for_each(|bytes| log.recycle(bytes));
            ring.trim(1 << 20, None);
        });
        assert_eq!(merger.merged_through(), ticket);
    });
    group.finish();
}

fn read(c: &mut Criterion) {
    let mut ring = Ring::new(0);
    (0..64).for_each(|_| ring.append(&[b'x'; 16 * 1024]));
    let mut group = c.benchmark_group("ring");
    group.throughput(Throughput::Bytes(ring.end()));
    group.bench_function("a cursor over 1 MiB", |bench| {
        bench.iter(|| {
            let (mut cursor, mut pieces) = (ring.start(), 0);
            while cursor < ring.end() {
                cursor += black_box(ring.read(cursor)).len() as u64;
                pieces += 1;
            }
            assert_eq!(pieces, 16);
        });
    });
    group.finish();
}

criterion_group!(benches, append, merge, read);
criterion_main!(benches);
