//! Tests: what a real server answered to scripts that use Lua and its libraries only.

use crate::resp::inline::split_words;
use crate::resp::reply::Proto;
use crate::script::machine::{Job, Next, Outcome};
use crate::script::scripts::Scripting;

/// Runs EVAL without a keyspace: there are no commands but GET, which is called wrongly.
pub(super) fn eval(scripting: &mut Scripting, client: Proto, words: &[Vec<u8>]) -> Vec<u8> {
    let Scripting { machine, scripts, .. } = scripting;
    let script = match scripts.define(machine, &words[1], false) {
        Ok(script) => script.clone(),
        Err(why) => return line(&why),
    };
    let args: Vec<&[u8]> = words[3..].iter().map(Vec::as_slice).collect();
    let job = Job {
        function: script.function,
        name: script.sha.as_bytes(),
        is_eval: true,
        keys: &[],
        args: &args,
        client,
    };
    let mut next = machine.start(&job);
    let mut pauses = 0;
    while !matches!(next, Next::Done(_)) {
        let run = machine.run().unwrap();
        if next == Next::Call {
            let name = run.call.iter().next().unwrap().to_ascii_lowercase();
            let reply: &[u8] = match name.as_slice() {
                b"get" => b"-ERR Wrong number of args calling Redis command from script\r\n",
                _ => b"-ERR Unknown Redis command called from script\r\n",
            };
            run.reply.clear();
            run.reply.extend_from_slice(reply);
        } else {
            pauses += 1;
            run.killed = pauses > 10_000;
        }
        next = machine.resume();
    }
    let reply = machine.run().unwrap().reply.clone();
    assert_eq!(matches!(next, Next::Done(Outcome::Fine)), reply[0] != b'-');
    reply
}

fn line(why: &[u8]) -> Vec<u8> {
    let why: Vec<u8> =
        why.iter().map(|&byte| if matches!(byte, b'\r' | b'\n') { b' ' } else { byte }).collect();
    [b"-", why.as_slice(), b"\r\n"].concat()
}

#[test]
fn scripts_answer_as_a_real_servers() {
    let transcript = include_str!("../../tests/golden/lua-7.0.15.txt");
    let mut scripting = Scripting::default();
    let mut differences = Vec::new();
    for text in transcript.lines().filter(|it| !it.starts_with('#')) {
        let (request, expected) = text.rsplit_once(" => ").unwrap();
        let words = split_words(request.as_bytes()).unwrap();
        let client = if words[0] == b"EVAL3" { Proto::Resp3 } else { Proto::Resp2 };
        let reply = eval(&mut scripting, client, &words);
        let reply = reply.escape_ascii().to_string().replace("\\'", "'");
        let expected = expected.to_owned();
        if reply != expected {
            differences.push(format!("{request}\n   real {expected}\n   ours {reply}"));
        }
    }
    // What is known to differ, each with its reason in the file; whoever mends one takes it out.
    let known = include_str!("../../tests/golden/lua-known-differences.txt");
    let known: Vec<&str> = known.lines().filter(|it| !it.starts_with('#')).collect();
    assert_eq!(differences.len(), known.len(), "\n{}\n", differences.join("\n"));
    for difference in &differences {
        let request = difference.lines().next().unwrap();
        assert!(known.contains(&request), "{difference}");
    }
}
