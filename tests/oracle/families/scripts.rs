//! Scripts and functions, on strings, lists and hashes; some with errors in the middle.

use super::Row;
use crate::compare::Compare::Exact;

#[rustfmt::skip] // One row, one line: a table should look like one.
pub const COMMANDS: &[Row] = &[
    (8, Exact, "EVAL SCRIPT1 1 SKEY SARG SARG"),
    (4, Exact, "EVAL SCRIPT2 2 SKEY SKEY SARG"),
    (3, Exact, "EVAL SCRIPT0 0 ?SARG ?SARG"),
    (2, Exact, "EVAL_RO SCRIPT1 1 SKEY SARG"),
    (1, Exact, "EVAL SCRIPT1 0|1|2|3|-1|x|1.5 ?SKEY ?SARG"),
    (1, Exact, "SCRIPT LOAD SCRIPT1"),
    (2, Exact, "EVALSHA SHA1 1 SKEY SARG SARG"),
    (1, Exact, "EVALSHA_RO SHA1 1 SKEY SARG"),
    (1, Exact, "EVALSHA abc|0123456789012345678901234567890123456789 1 SKEY"),
    (1, Exact, "FUNCTION LOAD ?REPLACE LIBRARY"),
    (2, Exact, "FCALL set|get|push|fails|nosuch 1 SKEY SARG SARG"),
    (1, Exact, "FCALL_RO set|get 1 SKEY SARG"),
    (1, Exact, "FUNCTION DELETE lib|nosuch"),
];

const LIBRARY: &str = "#!lua name=lib
redis.register_function('set', function(k, a) return redis.call('set', k[1], a[1]) end)
redis.register_function{function_name = 'get', flags = {'no-writes'},
    callback = function(k) return redis.call('get', k[1]) end}
redis.register_function('push', function(k, a) return redis.call('rpush', k[1], a[1], a[2]) end)
redis.register_function('fails', function(k) redis.call('set', k[1], 1) redis.call('lpop', k[1]) end)";

const NO_KEY: &[&str] = &[
    "return {1, 2.7, 'x', true, false, {ok='fine'}, {3, {4}}, nil, 5}",
    "return cjson.encode({1, {a = 'b'}, cjson.null})",
    "return cjson.decode(ARGV[1] or '[1,2]')",
    "return cmsgpack.pack(#ARGV, ARGV[1] or 'x', {1, 2, 3})",
    "return {cmsgpack.unpack(cmsgpack.pack(ARGV[1] or 1, 2.5))}",
    "return struct.pack('>I2hs', 1, -2, ARGV[1] or 'x')",
    "return bit.tohex(bit.bxor(tonumber(ARGV[1]) or 7, 255))",
    "return redis.sha1hex(ARGV[1] or '')",
    "return nosuch",
    "error('on purpose')",
    "return redis.error_reply('MY ' .. (ARGV[1] or 'error'))",
    "return tostring(tonumber(ARGV[1] or '1') / 3)",
];

const ONE_KEY: &[&str] = &[
    "return redis.call('get', KEYS[1])",
    "return redis.call('set', KEYS[1], ARGV[1])",
    "return redis.call('incrby', KEYS[1], ARGV[1])",
    "return redis.pcall('incr', KEYS[1])",
    "return redis.call('append', KEYS[1], ARGV[1])",
    "return redis.call('rpush', KEYS[1], ARGV[1], ARGV[2] or 'x')",
    "return redis.call('lrange', KEYS[1], 0, -1)",
    "return redis.call('hset', KEYS[1], 'f', ARGV[1])",
    "return redis.call('hincrby', KEYS[1], 'f', 3)",
    "return redis.call('del', KEYS[1])",
    "return redis.call('type', KEYS[1])",
    "redis.call('set', KEYS[1], 'a') return redis.call('lpop', KEYS[1])",
    "local r = redis.pcall('lpop', KEYS[1]) if type(r) == 'table' and r.err then return r.err end return r",
    "for i = 1, 5 do redis.call('rpush', KEYS[1], i) end return redis.call('llen', KEYS[1])",
    "redis.setresp(3) return redis.call('hget', KEYS[1], 'f')",
    "return redis.call('setrange', KEYS[1], 3, ARGV[1])",
    "redis.call('set', KEYS[1], ARGV[1], 'EX', 100) return redis.call('persist', KEYS[1])",
    "redis.call('select', 1) local r = redis.call('get', KEYS[1]) redis.call('select', 0) return r",
    "return {pcall(redis.call, 'incr', KEYS[1])}",
    "#!lua flags=no-writes\nreturn redis.call('get', KEYS[1])",
    "#!lua flags=no-writes\nreturn redis.call('set', KEYS[1], 1)",
    "return redis.call('strlen')",
];

const TWO_KEYS: &[&str] = &[
    "return {redis.call('exists', KEYS[1], KEYS[2]), redis.pcall('get', KEYS[1])}",
    "redis.call('set', KEYS[1], ARGV[1]) redis.call('set', KEYS[2], ARGV[1]) return 2",
    "return redis.call('mget', KEYS[1], KEYS[2])",
    "return redis.pcall('rename', KEYS[1], KEYS[2])",
    "return redis.call('lmove', KEYS[1], KEYS[2], 'LEFT', 'RIGHT')",
    "local n = redis.call('del', KEYS[1]) redis.call('incrby', KEYS[2], n) return n",
];

pub fn token(token: &str, below: &mut dyn FnMut(usize) -> usize) -> Option<Vec<u8>> {
    let mut of = |scripts: &[&str]| scripts[below(scripts.len())].as_bytes().to_vec();
    Some(match token {
        "SCRIPT0" => of(NO_KEY),
        "SCRIPT1" => of(ONE_KEY),
        "SCRIPT2" => of(TWO_KEYS),
        "SHA1" => sha1_smol::Sha1::from(of(ONE_KEY)).digest().to_string().into(),
        "LIBRARY" => LIBRARY.into(),
        "SKEY" => match below(10) {
            0 => format!("k{}", below(16)).into(),
            1 => format!("h{}", below(6)).into(),
            2 => format!("l{}", below(6)).into(),
            _ => format!("sc{}", below(6)).into(),
        },
        "SARG" => match below(8) {
            0 => b"\0\r\nodd\xff".to_vec(),
            1 => Vec::new(),
            2 => "12.5".into(),
            3 => "[1,{\"a\":null}]".into(),
            _ => below(1_000).to_string().into(),
        },
        _ => return None,
    })
}
