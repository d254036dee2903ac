//! Protocols and ciphers as settings name them: `tls-protocols`, `tls-ciphers`, `tls-ciphersuites`.
//!
//! There are fewer here than in OpenSSL: TLS 1.2 and 1.3, and of their ciphers those that give forward secrecy
//! and authenticate what they encrypt. What a setting asks for besides is told in a warning; a setting that
//! would leave nothing is refused.

use rustls::crypto::ring::cipher_suite as suites;
use rustls::version::{TLS12, TLS13};
use rustls::{SupportedCipherSuite, SupportedProtocolVersion};

/// What settings say; empty: the defaults.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wish {
    pub protocols: String,
    /// Of TLS 1.2, as OpenSSL calls them.
    pub ciphers: String,
    /// Of TLS 1.3.
    pub ciphersuites: String,
}

/// What is spoken.
#[derive(Clone, Debug)]
pub struct Choice {
    pub versions: Vec<&'static SupportedProtocolVersion>,
    pub suites: Vec<SupportedCipherSuite>,
    /// What was asked for in vain.
    pub warnings: Vec<String>,
}

#[rustfmt::skip] // One row, one line.
const SUITES_13: &[(&str, SupportedCipherSuite)] = &[
    ("TLS_AES_256_GCM_SHA384",       suites::TLS13_AES_256_GCM_SHA384),
    ("TLS_AES_128_GCM_SHA256",       suites::TLS13_AES_128_GCM_SHA256),
    ("TLS_CHACHA20_POLY1305_SHA256", suites::TLS13_CHACHA20_POLY1305_SHA256),
];

#[rustfmt::skip] // One row, one line.
const SUITES_12: &[(&str, SupportedCipherSuite)] = &[
    ("ECDHE-ECDSA-AES256-GCM-SHA384", suites::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384),
    ("ECDHE-ECDSA-AES128-GCM-SHA256", suites::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256),
    ("ECDHE-ECDSA-CHACHA20-POLY1305", suites::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256),
    ("ECDHE-RSA-AES256-GCM-SHA384",   suites::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384),
    ("ECDHE-RSA-AES128-GCM-SHA256",   suites::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256),
    ("ECDHE-RSA-CHACHA20-POLY1305",   suites::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256),
];

/// Words of OpenSSL's cipher lists that stand for many, all of ours among them.
const ALL_OF_THEM: &[&str] = &["DEFAULT", "ALL", "HIGH", "ECDHE", "EECDH", "AEAD"];

impl Wish {
    /// # Errors
    /// What a setting says of which nothing is left.
    pub fn choose(&self) -> Result<Choice, String> {
        let mut warnings = Vec::new();
        let versions = self.versions(&mut warnings)?;
        let (has_12, has_13) = (versions.contains(&&TLS12), versions.contains(&&TLS13));
        let modern = named("tls-ciphersuites", &self.ciphersuites, SUITES_13, &mut warnings)?;
        let older = named("tls-ciphers", &self.ciphers, SUITES_12, &mut warnings)?;
        let mut suites = if has_13 { modern } else { Vec::new() };
        suites.extend(if has_12 { older } else { Vec::new() });
        Ok(Choice { versions, suites, warnings })
    }

    fn versions(
        &self,
        warnings: &mut Vec<String>,
    ) -> Result<Vec<&'static SupportedProtocolVersion>, String> {
        let mut versions: Vec<&'static SupportedProtocolVersion> = Vec::new();
        for word in self.protocols.split_ascii_whitespace() {
            match word.to_ascii_lowercase().as_str() {
                "tlsv1.2" => versions.push(&TLS12),
                "tlsv1.3" => versions.push(&TLS13),
                "tlsv1" | "tlsv1.1" => {
                    warnings.push(format!("tls-protocols: {word} is not spoken here"));
                }
                _ => return Err(format!("Invalid tls-protocols specified: {word}")),
            }
        }
        if versions.is_empty() && !self.protocols.trim_ascii().is_empty() {
            return Err(
                "tls-protocols: of these none is spoken here, only TLSv1.2 and TLSv1.3".into()
            );
        }
        if versions.is_empty() {
            versions = vec![&TLS13, &TLS12];
        }
        Ok(versions)
    }
}

/// Those of `known` that a list names, in its order; an empty list names all.
fn named(
    setting: &str,
    list: &str,
    known: &[(&str, SupportedCipherSuite)],
    warnings: &mut Vec<String>,
) -> Result<Vec<SupportedCipherSuite>, String> {
    let mut words = list.split([':', ',', ' ']).filter(|it| !it.is_empty()).peekable();
    if words.peek().is_none() {
        return Ok(known.iter().map(|it| it.1).collect());
    }
    let (mut found, mut vain): (Vec<&(&str, SupportedCipherSuite)>, Vec<&str>) = Default::default();
    for word in words {
        let is = |it: &&(&str, SupportedCipherSuite)| it.0.eq_ignore_ascii_case(word);
        match word.strip_prefix(['!', '-']) {
            Some(not) => found.retain(|it| !it.0.eq_ignore_ascii_case(not)),
            None if ALL_OF_THEM.iter().any(|it| it.eq_ignore_ascii_case(word)) => {
                let more: Vec<_> =
                    known.iter().filter(|it| !found.iter().any(|has| has.0 == it.0)).collect();
                found.extend(more);
            }
            None => match known.iter().find(is) {
                Some(it) if found.iter().any(|has| has.0 == it.0) => {}
                Some(it) => found.push(it),
                None => vain.push(word),
            },
        }
    }
    if found.is_empty() {
        let names: Vec<&str> = known.iter().map(|it| it.0).collect();
        return Err(format!("{setting}: of these none is known here, only {}", names.join(":")));
    }
    if !vain.is_empty() {
        warnings.push(format!("{setting}: not known here: {}", vain.join(":")));
    }
    Ok(found.into_iter().map(|it| it.1).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(protocols: &str, ciphers: &str, ciphersuites: &str) -> Wish {
        Wish {
            protocols: protocols.into(),
            ciphers: ciphers.into(),
            ciphersuites: ciphersuites.into(),
        }
    }

    #[test]
    fn settings_choose_and_what_is_in_vain_is_told() {
        let check = |wish: Wish, versions: usize, suites: usize, warnings: &[&str]| {
            let chosen = wish.choose().unwrap_or_else(|why| panic!("{wish:?}: {why}"));
            assert_eq!(
                (chosen.versions.len(), chosen.suites.len()),
                (versions, suites),
                "{wish:?}"
            );
            assert_eq!(chosen.warnings, warnings, "{wish:?}");
        };
        check(wish("", "", ""), 2, 9, &[]);
        check(wish("TLSv1.3", "", ""), 1, 3, &[]);
        check(wish("tlsv1.2", "DEFAULT:!ECDHE-RSA-AES128-GCM-SHA256", ""), 1, 5, &[]);
        check(
            wish("TLSv1.1 TLSv1.2", "", ""),
            1,
            6,
            &["tls-protocols: TLSv1.1 is not spoken here"],
        );
        check(
            wish("", "ECDHE-RSA-AES256-GCM-SHA384:AES128-SHA", "TLS_AES_128_GCM_SHA256"),
            2,
            2,
            &["tls-ciphers: not known here: AES128-SHA"],
        );
    }

    #[test]
    fn what_would_leave_nothing_is_refused() {
        for bad in [
            wish("TLSv1.1", "", ""),
            wish("SSLv3", "", ""),
            wish("", "AES128-SHA", ""),
            wish("", "", "TLS_AES_128_CCM_SHA256"),
            wish("", "!DEFAULT", ""),
        ] {
            assert!(bad.choose().is_err(), "{bad:?}");
        }
    }
}
