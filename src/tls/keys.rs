//! Private keys out of the texts of their files, also under a password.
//!
//! Keys under a password are PKCS #8 (`BEGIN ENCRYPTED PRIVATE KEY`), as openssl has written them since 1.0. The older
//! form, which says `Proc-Type: 4,ENCRYPTED`, derives its key by one round of MD5: who has such a file is told how
//! to make the other of it.

use pkcs8::{EncryptedPrivateKeyInfo, SecretDocument};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;

const BEGIN: &str = "-----BEGIN ENCRYPTED PRIVATE KEY-----";
const END: &str = "-----END ENCRYPTED PRIVATE KEY-----";
const OLD: &str = "Proc-Type: 4,ENCRYPTED";

/// The first key of a file; `password` is looked at only where it is encrypted.
///
/// # Errors
/// Why there is none, beginning with the file's name.
pub(super) fn private(
    file: &str,
    text: &[u8],
    password: &[u8],
) -> Result<PrivateKeyDer<'static>, String> {
    let words = String::from_utf8_lossy(text);
    if words.contains(OLD) {
        return Err(format!(
            "{file}: the key is encrypted in a form that is no longer safe, and not read here: openssl pkcs8 \
             -topk8 -in {file} makes the one that is"
        ));
    }
    let Some(block) = encrypted(&words) else {
        return PrivateKeyDer::from_pem_slice(text)
            .map_err(|error| format!("{file}: no private key: {error}"));
    };
    if password.is_empty() {
        return Err(format!("{file}: the key is encrypted, and there is no tls-key-file-pass"));
    }
    let wrong =
        |error: &dyn std::fmt::Display| format!("{file}: the key cannot be decrypted: {error}");
    let (_, document) = SecretDocument::from_pem(block).map_err(|error| wrong(&error))?;
    let sealed =
        EncryptedPrivateKeyInfo::try_from(document.as_bytes()).map_err(|error| wrong(&error))?;
    let key = sealed.decrypt(password).map_err(|error| wrong(&error))?;
    Ok(PrivateKeyDer::Pkcs8(key.as_bytes().to_vec().into()))
}

/// The part of the text that is an encrypted key.
fn encrypted(text: &str) -> Option<&str> {
    let begin = text.find(BEGIN)?;
    let rest = text.get(begin..)?;
    let end = rest.find(END)? + END.len();
    rest.get(..end)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -aes256 -pass pass:secret`
    const KEY: &str = "\
-----BEGIN ENCRYPTED PRIVATE KEY-----
MIHsMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAjrJniUdjYX3gICCAAw
DAYIKoZIhvcNAgkFADAdBglghkgBZQMEASoEEKRwMPzwWLqDf2xJizYkKzYEgZBq
A2q3in7fzZxtiqu3YB1ug/UpR8aSf9bznpeRFIz+MrKCUbeeYaPgsR9JsXAjJez/
YC2LfOLPdD1XUjlOPHv3FCs3rSEi43+F3zn+s5FpSS5gzW5wWji/Qksu2nv43wsz
NGs6SPkzM+XEUKCVQmZs/f847KagMR4z7bjqJ6L4I50sSaIhS7MdYbqb8c1RJRo=
-----END ENCRYPTED PRIVATE KEY-----";

    #[test]
    fn a_key_under_its_password() {
        // In a file with something before and behind it, too.
        for text in [KEY.to_string(), format!("a comment\n{KEY}\nmore\n")] {
            let key = private("f", text.as_bytes(), b"secret").unwrap();
            assert!(matches!(key, PrivateKeyDer::Pkcs8(_)));
        }
    }

    #[test]
    fn what_is_wrong_is_told() {
        for (text, password, why) in [
            (KEY.to_string(), "wrong", "cannot be decrypted"),
            (KEY.to_string(), "", "there is no tls-key-file-pass"),
            (KEY.replace("MI", "MJ"), "secret", "cannot be decrypted"),
            (format!("{BEGIN}\n{END}"), "secret", "cannot be decrypted"),
            (BEGIN.to_string(), "secret", "no private key"),
            (String::new(), "secret", "no private key"),
            (OLD.to_string(), "secret", "openssl pkcs8"),
        ] {
            let said = private("f", text.as_bytes(), password.as_bytes()).unwrap_err();
            assert!(said.starts_with("f: ") && said.contains(why), "{said}");
        }
    }
}
