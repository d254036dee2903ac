//! Test support: an authority, certificates that it signs, and contexts made of them.

use super::choice::Wish;
use super::contexts::{Asks, Contexts, Pair, Parts};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

/// An authority that signs what it is asked to.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub certificate: String,
}

impl Authority {
    pub fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), certificate }
    }

    /// A certificate with this common name, and its key.
    pub fn pair(&self, name: &str) -> Pair {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["localhost".to_string()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        let certificate = params.signed_by(&key, &self.issuer).unwrap().pem();
        Pair {
            certificate_file: format!("{name}.crt"),
            key_file: format!("{name}.key"),
            certificate: certificate.into_bytes(),
            key: key.serialize_pem().into_bytes(),
            ..Pair::default()
        }
    }

    pub fn parts(&self, name: &str, asks: Asks) -> Parts {
        Parts {
            own: self.pair(name),
            authorities: vec![("ca.crt".into(), self.certificate.clone().into_bytes())],
            asks,
            sessions: 16,
            ..Parts::default()
        }
    }

    pub fn contexts(&self, name: &str, asks: Asks) -> Contexts {
        self.parts(name, asks).build().unwrap()
    }

    /// The same for one version only.
    pub fn contexts_of(&self, name: &str, asks: Asks, protocols: &str) -> Contexts {
        let wish = Wish { protocols: protocols.into(), ..Wish::default() };
        Parts { wish, ..self.parts(name, asks) }.build().unwrap()
    }
}
