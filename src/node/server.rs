//! Commands for whoever runs the server: CONFIG, COMMAND, TIME, saving, SHUTDOWN, LOLWUT.
//!
//! Words are read here; what concerns the whole node is core 0's to do (`control.rs`,
//! `snapshots.rs`, `exit.rs`). CONFIG GET reads this core's view. CONFIG SET is checked here and
//! then done by core 0 on its own settings, so that two of them on two cores do not undo each other.
//!
//! Not here: INFO (`info.rs`), DEBUG (`debug.rs`), MEMORY, which works on keys (`engine/generic.rs`).

use crate::base::glob;
use crate::base::num::parse_i64;
use crate::command::args::Args;
use crate::command::spec::Command;
use crate::command::{docs, node_rows as rows};
use crate::node::control::Ask;
use crate::node::core::Core;
use crate::node::cx::{NodeCx, NodeFn, PartHead};
use crate::node::gather::Summary;
use crate::node::texts::Purpose;
use crate::node::{REDIS_VERSION, config};
use crate::resp::error::ErrorKind;
use crate::resp::reply::Reply;

#[rustfmt::skip] // One row, one line.
pub const COMMANDS: &[Command<NodeFn>] = &[
    Command::container(rows::CONFIG,  no_subcommand, CONFIG),
    Command::container(rows::COMMAND, command,       COMMAND),
    Command::new(rows::TIME,     time),
    Command::new(rows::LASTSAVE, last_save),
    Command::new(rows::SAVE,     save),
    Command::new(rows::BGSAVE,   background_save),
    Command::new(rows::BGREWRITEAOF, rewrite),
    Command::new(rows::SHUTDOWN, shutdown),
    Command::new(rows::LOLWUT,   lolwut),
];

#[rustfmt::skip]
const CONFIG: &[Command<NodeFn>] = &[
    Command::new(rows::CONFIG_GET,       config_get),
    Command::new(rows::CONFIG_SET,       config_set),
    Command::new(rows::CONFIG_RESETSTAT, config_reset_stat),
    Command::new(rows::CONFIG_REWRITE,   config_rewrite),
    Command::new(rows::CONFIG_HELP,      config_help),
];

#[rustfmt::skip]
const COMMAND: &[Command<NodeFn>] = &[
    Command::new(rows::COMMAND_COUNT,           command_count),
    Command::new(rows::COMMAND_DOCS,            command_docs),
    Command::new(rows::COMMAND_GETKEYS,         command_get_keys),
    Command::new(rows::COMMAND_GETKEYSANDFLAGS, command_get_keys_and_flags),
    Command::new(rows::COMMAND_HELP,            command_help),
    Command::new(rows::COMMAND_INFO,            command_info),
    Command::new(rows::COMMAND_LIST,            command_list),
];

/// Never reached: the arity of CONFIG asks for a sub-command, and an unknown one is refused before.
fn no_subcommand(_: &mut NodeCx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    Err(ErrorKind::unknown_subcommand("CONFIG", args.get(1).unwrap_or_default()))
}

/// `CONFIG GET pattern [pattern ...]`
fn config_get(cx: &mut NodeCx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let patterns: Vec<&[u8]> = args.from(2).collect();
    let found = config::get(&cx.core.view.settings, &patterns, glob::matches_with);
    cx.reply.map(found.len());
    for (name, value) in found {
        cx.reply.bulk(&name);
        cx.reply.bulk(&value);
    }
    Ok(())
}

/// `CONFIG SET name value [name value ...]`
fn config_set(cx: &mut NodeCx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let local = cx.session().ends.is_loopback();
    let words: Vec<&[u8]> = args.from(2).collect();
    config::set_running(&cx.core.view.settings, &words, local).map_err(|error| error.reply())?;
    let words = words.iter().map(|word| word.to_vec()).collect();
    cx.ask(Ask::Configure { words, local });
    Ok(())
}

fn config_reset_stat(cx: &mut NodeCx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    cx.ask_all("reset-stats", args, Summary::AllOk);
    Ok(())
}

/// `CONFIG REWRITE`
fn config_rewrite(cx: &mut NodeCx<'_>, _: Args<'_>) -> Result<(), ErrorKind> {
    cx.ask(Ask::Text(Purpose::Rewrite));
    Ok(())
}

fn config_help(cx: &mut NodeCx<'_>, _: Args<'_>) -> Result<(), ErrorKind> {
    docs::write_help("CONFIG", CONFIG, &mut cx.reply);
    Ok(())
}

/// `COMMAND`
fn command(cx: &mut NodeCx<'_>, _: Args<'_>) -> Result<(), ErrorKind> {
    cx.core.shared.table.directory().all(&mut cx.reply);
    Ok(())
}

fn command_count(cx: &mut NodeCx<'_>, _: Args<'_>) -> Result<(), ErrorKind> {
    cx.core.shared.table.directory().count(&mut cx.reply);
    Ok(())
}

fn command_docs(cx: &mut NodeCx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    cx.core.shared.table.directory().docs(args.from(2), &mut cx.reply);
    Ok(())
}

fn command_info(cx: &mut NodeCx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    cx.core.shared.table.directory().info(args.from(2), &mut cx.reply);
    Ok(())
}

fn command_list(cx: &mut NodeCx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    cx.core.shared.table.directory().list(args.skip(2), &mut cx.reply)
}

fn command_get_keys(cx: &mut NodeCx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    cx.core.shared.table.directory().get_keys(args.skip(2), &mut cx.reply)
}

fn command_get_keys_and_flags(cx: &mut NodeCx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    cx.core.shared.table.directory().get_keys_and_flags(args.skip(2), &mut cx.reply)
}

fn command_help(cx: &mut NodeCx<'_>, _: Args<'_>) -> Result<(), ErrorKind> {
    docs::write_help("COMMAND", COMMAND, &mut cx.reply);
    Ok(())
}

/// `TIME`: seconds and microseconds.
fn time(cx: &mut NodeCx<'_>, _: Args<'_>) -> Result<(), ErrorKind> {
    let micros = cx.core.now.wall.0;
    cx.reply.array(2);
    cx.reply.bulk((micros / 1_000_000).to_string().as_bytes());
    cx.reply.bulk((micros % 1_000_000).to_string().as_bytes());
    Ok(())
}

fn last_save(cx: &mut NodeCx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    cx.ask_core(0, "last-save", args);
    Ok(())
}

/// LASTSAVE on core 0.
pub(super) fn last_save_part(core: &mut Core, _: &PartHead, _: Args<'_>, reply: &mut Reply<'_>) {
    let seconds = core.control.as_ref().map_or(0, |control| control.snapshots.last_save_s);
    reply.int(i64::try_from(seconds).unwrap_or(i64::MAX));
}

fn save(cx: &mut NodeCx<'_>, _: Args<'_>) -> Result<(), ErrorKind> {
    cx.ask(Ask::Save);
    Ok(())
}

/// `BGSAVE [SCHEDULE]`
fn background_save(cx: &mut NodeCx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let schedule = args.len() == 2 && args.is(1, "SCHEDULE");
    if args.len() > 1 && !schedule {
        return Err(ErrorKind::Syntax);
    }
    cx.ask(Ask::BgSave { schedule });
    Ok(())
}

/// `BGREWRITEAOF`
fn rewrite(cx: &mut NodeCx<'_>, _: Args<'_>) -> Result<(), ErrorKind> {
    cx.ask(Ask::Rewrite);
    Ok(())
}

/// `SHUTDOWN [NOSAVE | SAVE] [NOW] [FORCE] [ABORT]`
fn shutdown(cx: &mut NodeCx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let Shutdown { save, now, force, abort } = parse_shutdown(args)?;
    if save != Some(false) {
        cx.core.nothing_is_busy()?;
    }
    cx.ask(Ask::Shutdown { save, now, force, abort });
    Ok(())
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Shutdown {
    save: Option<bool>,
    now: bool,
    force: bool,
    abort: bool,
}

fn parse_shutdown(args: Args<'_>) -> Result<Shutdown, ErrorKind> {
    let mut asked = Shutdown::default();
    for at in 1..args.len() {
        match () {
            () if args.is(at, "NOSAVE") && asked.save != Some(true) => asked.save = Some(false),
            () if args.is(at, "SAVE") && asked.save != Some(false) => asked.save = Some(true),
            () if args.is(at, "NOW") => asked.now = true,
            () if args.is(at, "FORCE") => asked.force = true,
            () if args.is(at, "ABORT") => asked.abort = true,
            () => return Err(ErrorKind::Syntax),
        }
    }
    if asked.abort && asked != (Shutdown { abort: true, ..Shutdown::default() }) {
        return Err(ErrorKind::Syntax);
    }
    Ok(asked)
}

/// `LOLWUT [VERSION n]`: whatever is asked for, the ring with a bead for every core.
fn lolwut(cx: &mut NodeCx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    if args.len() > 2 && args.is(1, "VERSION") && parse_i64(&args[2]).is_none() {
        return Err(ErrorKind::NotAnInteger);
    }
    let mut text = draw_ring(cx.core.cores);
    text.push_str(&format!(
        "\nOne ring, {} of its cores. Redis ver. {REDIS_VERSION}\n",
        cx.core.cores
    ));
    cx.reply.verbatim(*b"txt", text.as_bytes());
    Ok(())
}

/// A ring of Braille dots, with so many beads evenly on it.
fn draw_ring(beads: usize) -> String {
    const SIDE: i32 = 72;
    const RADIUS: f64 = 29.0;
    const BEAD: f64 = 6.0;
    let angle = |bead: usize| std::f64::consts::TAU * bead as f64 / beads as f64;
    let beads: Vec<(f64, f64)> =
        (0..beads).map(|bead| (RADIUS * angle(bead).sin(), -RADIUS * angle(bead).cos())).collect();
    let is_set = |x: i32, y: i32| {
        let (x, y) = (f64::from(x - SIDE / 2) + 0.5, f64::from(y - SIDE / 2) + 0.5);
        let in_bead = beads.iter().any(|(a, b)| (x - a).hypot(y - b) < BEAD);
        in_bead || (x.hypot(y) - RADIUS).abs() < 1.5
    };
    // The dots of a character by their bit: two columns of three, then a fourth row.
    const DOTS: [(i32, i32); 8] = [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (0, 3), (1, 3)];
    let mut text = String::new();
    for row in 0..SIDE / 4 {
        for column in 0..SIDE / 2 {
            let mut bits = 0;
            for (bit, (x, y)) in DOTS.iter().enumerate() {
                bits |= u32::from(is_set(column * 2 + x, row * 4 + y)) << bit;
            }
            text.push(char::from_u32(0x2800 + bits).unwrap_or(' '));
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What redis-server 7.0.15 accepts.
    #[test]
    fn shutdown_reads_its_words() {
        let check = |line: &str, expected: Option<(Option<bool>, bool, bool, bool)>| {
            let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
            let parsed = parse_shutdown(Args::new(&words));
            let expected =
                expected.map(|(save, now, force, abort)| Shutdown { save, now, force, abort });
            assert_eq!(parsed, expected.ok_or(ErrorKind::Syntax), "{line}");
        };
        check("SHUTDOWN", Some((None, false, false, false)));
        check("SHUTDOWN nosave now NOW", Some((Some(false), true, false, false)));
        check("SHUTDOWN SAVE FORCE", Some((Some(true), false, true, false)));
        check("SHUTDOWN ABORT", Some((None, false, false, true)));
        check("SHUTDOWN x", None);
        check("SHUTDOWN SAVE NOSAVE", None);
        check("SHUTDOWN ABORT NOW", None);
        check("SHUTDOWN NOSAVE ABORT", None);
    }

    #[test]
    fn the_ring_is_round_and_has_its_beads() {
        let (bare, beads) = (draw_ring(0), draw_ring(3));
        assert_eq!(
            (bare.lines().count(), bare.lines().next().map(|it| it.chars().count())),
            (18, Some(36))
        );
        let dots = |text: &str| -> u32 {
            text.chars()
                .filter(|&it| it != '\n')
                .map(|it| (u32::from(it) - 0x2800).count_ones())
                .sum()
        };
        assert!(dots(&beads) > dots(&bare));
        let mirrored: Vec<u32> = bare.lines().map(dots).collect();
        assert!(mirrored.iter().eq(mirrored.iter().rev()));
    }
}
