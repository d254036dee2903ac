//! What a byte costs on its way in and out: requests, replies, and finding a reply's end.

#![expect(missing_docs, reason = "criterion's macros make undocumented functions")]

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use ringfold::base::{glob, long_double, num};
use ringfold::resp::decode;
use ringfold::resp::partial::Partial;
use ringfold::resp::reply::{Proto, Reply, write_request};
use ringfold::resp::request::{self, RequestLimits};
use std::hint::black_box;

const PIPELINE: usize = 64;

fn request(args: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::new();
    write_request(&mut out, args);
    out
}

/// One window of requests, read where they lie.
fn whole_requests(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("request");
    for (name, args) in [
        ("set_64_bytes", &[&b"SET"[..], b"key:000000000001", &[b'x'; 64]][..]),
        ("get", &[b"GET", b"key:000000000001"]),
        ("ping", &[b"PING"]),
        ("mset_20", &[&b"0123456789"[..]; 21]),
    ] {
        let input = request(args).repeat(PIPELINE);
        let mut kept: Vec<&[u8]> = Vec::with_capacity(PIPELINE * args.len());
        group.throughput(Throughput::Elements(PIPELINE as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let mut rest = &input[..];
                let mut lent = std::mem::take(&mut kept);
                lent.clear();
                while let Some(used) = request::next(rest, &RequestLimits::DEFAULT, &mut lent) {
                    rest = &rest[used..];
                }
                kept = black_box(lent);
            });
        });
    }
    group.finish();
}

/// A request in two pieces.
fn torn_requests(criterion: &mut Criterion) {
    let input = request(&[b"SET", b"key:000000000001", &[b'x'; 64]]);
    let (a, b) = input.split_at(input.len() / 2);
    criterion.bench_function("request/set_torn", |bencher| {
        bencher.iter_batched_ref(
            Partial::default,
            |partial| {
                let _ = black_box(partial.feed(a, &RequestLimits::DEFAULT));
                black_box(partial.feed(b, &RequestLimits::DEFAULT))
            },
            BatchSize::SmallInput,
        );
    });
}

fn replies(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("reply");
    let mut out = Vec::with_capacity(4096);
    let mut bench = |name, write: fn(&mut Reply<'_>)| {
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                out.clear();
                write(&mut Reply { out: &mut out, proto: Proto::Resp2 });
                black_box(&out);
            });
        });
    };
    bench("ok", |reply| reply.ok());
    bench("int_small", |reply| reply.int(black_box(17)));
    bench("int_large", |reply| reply.int(black_box(1_234_567_890_123)));
    bench("bulk_64", |reply| reply.bulk(black_box(&[b'x'; 64])));
    bench("double", |reply| reply.double(black_box(3.1)));
    group.finish();
}

fn clients(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("skip");
    let bulk = request(&[&[b'x'; 64]]);
    for (name, input) in [("ok", &b"+OK\r\n"[..]), ("bulk_64", &bulk[4..]), ("array_1", &bulk)] {
        group.bench_function(name, |bencher| bencher.iter(|| decode::skip(black_box(input))));
    }
    group.finish();
}

fn numbers(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("base");
    group.bench_function("parse_i64", |bencher| {
        bencher.iter(|| num::parse_i64(black_box(b"1234567890")));
    });
    group.bench_function("incrbyfloat", |bencher| {
        let mut out = Vec::new();
        bencher.iter(|| {
            out.clear();
            let parse = |text| long_double::parse(text, long_double::Format::EXTENDED);
            let sum = parse(black_box(b"10.5")).and_then(|a| a.plus(parse(b"0.1")?));
            sum.inspect(|sum| sum.write_fixed(&mut out)).is_some()
        });
    });
    group.bench_function("glob", |bencher| {
        bencher.iter(|| glob::matches(black_box(b"user:*:[a-f]?"), b"user:1234567:c9"));
    });
    group.finish();
}

criterion_group!(parser, whole_requests, torn_requests, replies, clients, numbers);
criterion_main!(parser);
