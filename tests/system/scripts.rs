//! Scripts and functions between servers: a replica has the effects and the libraries.

use crate::support::server::wait_until_equal;
use crate::support::wait_until;
use crate::{MATRIX, plan, replica_of, wait_for_link};

const LIBRARY: &str = "#!lua name=lib
redis.register_function('put', function(k, a) return redis.call('set', k[1], a[1]) end)
redis.register_function{function_name = 'get', flags = {'no-writes'},
    callback = function(k) return redis.call('get', k[1]) end}";

const SECOND: &str = "#!lua name=second
redis.register_function('two', function() return 2 end)";

/// What scripts did reaches a replica as it was done, random draws and all; one that comes later has it too.
#[test]
fn effects_and_libraries_arrive() {
    for (master, replica) in MATRIX {
        let master = plan(*master).start();
        let mut client = master.client();
        client.expect(&["FUNCTION", "LOAD", LIBRARY], "$3\r\nlib\r\n");
        let replica = replica_of(plan(*replica), "127.0.0.1", master.port());
        wait_for_link(&replica);
        for n in 0..100 {
            let (key, other) = (format!("{{t}}k{n}"), format!("{{t}}l{n}"));
            let script = "redis.call('set', KEYS[1], math.random(1000000), 'PX', 10000000)
                for i = 1, 5 do redis.call('rpush', KEYS[2], math.random(), redis.call('time')[2]) end
                redis.call('select', 3) redis.call('incrbyfloat', KEYS[1], ARGV[1])
                return redis.call('hset', KEYS[2] .. ':h', 'f', i or 1)";
            let script = script.replace("i or 1", "1");
            client.call(&["EVAL", &script, "2", &key, &other, "0.1"]);
            client.call(&["EVAL", "redis.call('incr', KEYS[1]) error('late')", "1", "errors"]);
            client.call(&["FCALL", "put", "1", &format!("f{n}"), &n.to_string()]);
        }
        client.expect(&["FUNCTION", "LOAD", SECOND], "$6\r\nsecond\r\n");
        wait_until_equal(&master, &replica);
        let mut reader = replica.client();
        reader.expect(&["FCALL_RO", "get", "1", "f7"], "$1\r\n7\r\n");
        wait_until("the second library is there", || {
            reader.call(&["FCALL", "two", "0"])
                == b"-READONLY You can't write against a read only replica.\r\n"
        });
        client.expect(&["FUNCTION", "DELETE", "second"], "+OK\r\n");
        wait_until("the second library is gone", || {
            reader.call(&["FCALL", "two", "0"]) == b"-ERR Function not found\r\n"
        });
    }
}
