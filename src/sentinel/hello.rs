//! The message by which Sentinels find and inform one another, over the channel
//! `__sentinel__:hello` of every data node, and by `PUBLISH` directly to one another:
//!
//! ```text
//!   ip,port,id,current_epoch,master_name,master_ip,master_port,config_epoch
//! ```
//!
//! Whoever may publish on a data node can write one: what it claims is a hint. `learn.rs` says which
//! hints are taken.

use crate::base::limits::{SENTINEL_HELLO_BYTES_MAX, SENTINEL_NAME_BYTES_MAX};
use crate::base::num::parse_i64;

/// The channel.
pub const CHANNEL: &[u8] = b"__sentinel__:hello";

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    pub ip: String,
    pub port: u16,
    pub id: String,
    pub epoch: u64,
    pub master: String,
    pub master_ip: String,
    pub master_port: u16,
    pub config_epoch: u64,
}

impl Hello {
    /// `None`: it is no hello.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        if text.len() > SENTINEL_HELLO_BYTES_MAX {
            return None;
        }
        let mut words = str::from_utf8(text).ok()?.split(',');
        let mut word =
            || words.next().filter(|it| !it.is_empty() && it.len() <= SENTINEL_NAME_BYTES_MAX);
        let hello = Self {
            ip: host(word()?)?,
            port: port(word()?)?,
            id: id(word()?)?,
            epoch: epoch(word()?)?,
            master: word()?.to_string(),
            master_ip: host(word()?)?,
            master_port: port(word()?)?,
            config_epoch: epoch(word()?)?,
        };
        words.next().is_none().then_some(hello)
    }

    #[must_use]
    pub fn text(&self) -> String {
        let Self { ip, port, id, epoch, master, master_ip, master_port, config_epoch } = self;
        format!("{ip},{port},{id},{epoch},{master},{master_ip},{master_port},{config_epoch}")
    }
}

/// An IP or a name: nothing that would be another word in a file or an event.
fn host(text: &str) -> Option<String> {
    let fine = text.bytes().all(|it| it.is_ascii_alphanumeric() || b".:-_%".contains(&it));
    fine.then(|| text.to_string())
}

fn port(text: &str) -> Option<u16> {
    parse_i64(text.as_bytes()).and_then(|it| it.try_into().ok()).filter(|it| *it != 0)
}

fn epoch(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// Forty characters that are fit for a file.
fn id(text: &str) -> Option<String> {
    let fine = text.len() == 40 && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    fine.then(|| text.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_read_and_written() {
        let id = "25e94d35064803d56724b424b478eb7ccee08f2a";
        let text = format!("127.0.0.1,26379,{id},3,mymaster,10.0.0.1,6379,2");
        let hello = Hello::parse(text.as_bytes()).unwrap();
        assert_eq!(hello.text(), text);
        assert_eq!((hello.epoch, hello.config_epoch), (3, 2));
        for wrong in [
            "",
            "bar",
            &format!("{text},x"),
            &text.replace(",2", ""),
            &text.replace("26379", "0"),
            &text.replace("26379", "66666"),
            &text.replace("127.0.0.1", "a b"),
            &text.replace("127.0.0.1", "a\nb"),
            &text.replace(id, "short"),
            &text.replace(",3,", ",-3,"),
            &text.replace(",3,", ",99999999999999999999,"),
            &text.replace("mymaster", &"m".repeat(3_000)),
        ] {
            assert_eq!(Hello::parse(wrong.as_bytes()), None, "{wrong}");
        }
    }
}
