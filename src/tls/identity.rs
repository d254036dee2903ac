//! Whose certificate it is: its common name, to the byte.
//!
//! A name that could be read in two ways is nobody's: none is taken from a certificate that has several, and
//! none with a zero byte in it, where a reader that stops there would see another name.

use x509_cert::Certificate;
use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::der::{Decode, Tag, Tagged};

const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");

/// The common name in a certificate's subject, where it has exactly one, of single bytes or UTF-8.
#[must_use]
pub fn common_name(certificate: &[u8]) -> Option<Vec<u8>> {
    let certificate = Certificate::from_der(certificate).ok()?;
    let names = &certificate.tbs_certificate.subject.0;
    let mut found = names.iter().flat_map(|it| it.0.iter()).filter(|it| it.oid == COMMON_NAME);
    let (Some(name), None) = (found.next(), found.next()) else { return None };
    let readable = matches!(
        name.value.tag(),
        Tag::Utf8String | Tag::PrintableString | Tag::Ia5String | Tag::TeletexString
    );
    let bytes = name.value.value();
    (readable && !bytes.is_empty() && !bytes.contains(&0)).then(|| bytes.to_vec())
}

#[cfg(test)]
mod tests {
    use super::common_name;
    use rcgen::{CertificateParams, DistinguishedName, DnType, DnValue, KeyPair};

    fn certificate(names: &[(DnType, DnValue)]) -> Vec<u8> {
        let mut params = CertificateParams::new(vec!["host".to_string()]).unwrap();
        params.distinguished_name = DistinguishedName::new();
        for (kind, value) in names {
            params.distinguished_name.push(kind.clone(), value.clone());
        }
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    fn utf8(text: &str) -> DnValue {
        DnValue::Utf8String(text.into())
    }

    #[test]
    fn the_one_common_name_to_the_byte() {
        let check = |names: &[(DnType, DnValue)], expected: Option<&str>| {
            let found = common_name(&certificate(names));
            assert_eq!(found.as_deref(), expected.map(str::as_bytes), "{names:?}");
        };
        let name = DnType::CommonName;
        check(&[(name.clone(), utf8("alice"))], Some("alice"));
        check(&[(name.clone(), utf8("Alice "))], Some("Alice "));
        check(&[(DnType::OrganizationName, utf8("o")), (name.clone(), utf8("zoë"))], Some("zoë"));
        check(&[(name.clone(), utf8("alice\0.evil"))], None);
        check(&[(name.clone(), utf8(""))], None);
        check(&[(DnType::OrganizationName, utf8("alice"))], None);
        check(&[(name, DnValue::BmpString("alice".try_into().unwrap()))], None);
        // A second common name under the same number, which a reader of the last one would take.
        let other = DnType::CustomDnType(vec![2, 5, 4, 3]);
        check(&[(DnType::CommonName, utf8("alice")), (other, utf8("admin"))], None);
    }

    #[test]
    fn bytes_that_are_no_certificate_name_nobody() {
        let whole = certificate(&[(DnType::CommonName, utf8("alice"))]);
        assert_eq!(common_name(&[]), None);
        for cut in 0..whole.len() {
            assert_eq!(common_name(&whole[..cut]), None, "{cut}");
        }
    }
}
