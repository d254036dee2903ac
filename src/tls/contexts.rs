//! Keys, certificates and authorities, out of the texts of their files, as what connections begin with.
//!
//! A reload makes new contexts; connections that live go on with the ones they began with.
//!
//! Not here: reading the files (`runtime/tls.rs`).

use super::choice::{Choice, Wish};
use super::keys;
use super::trust::AnyName;
use rustls::client::ResolvesClientCert;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::server::{
    ClientHello, NoServerSessionStorage, ResolvesServerCert, ServerSessionMemoryCache,
    WebPkiClientVerifier,
};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, Error, InconsistentKeys, RootCertStore, ServerConfig, SignatureScheme};
use std::sync::Arc;

/// Who must show a certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Asks {
    #[default]
    Nobody,
    Everybody,
    /// Whoever has one shows it; it must be good then.
    WhoeverHas,
}

/// A certificate chain and its key, as texts.
#[derive(Clone, Default)]
pub struct Pair {
    /// Where they are from, for errors.
    pub certificate_file: String,
    pub key_file: String,
    pub certificate: Vec<u8>,
    pub key: Vec<u8>,
    /// The password of the key, where that is encrypted.
    pub password: Vec<u8>,
}

/// What contexts are made of.
#[derive(Clone, Default)]
pub struct Parts {
    pub own: Pair,
    /// What is shown where this side connects, if not `own`.
    pub own_as_client: Option<Pair>,
    /// Texts of trusted authorities, with the names of their files.
    pub authorities: Vec<(String, Vec<u8>)>,
    pub asks: Asks,
    pub wish: Wish,
    pub prefers_own_order: bool,
    /// Sessions kept so that whoever comes back need not prove itself anew; 0: none.
    pub sessions: usize,
}

/// What one who only connects is made of.
#[derive(Clone, Default)]
pub struct Connecting {
    /// The certificate that is shown, if any.
    pub shows: Option<Pair>,
    pub authorities: Vec<(String, Vec<u8>)>,
    pub wish: Wish,
}

/// What connections begin with.
#[derive(Clone, Debug)]
pub struct Contexts {
    pub server: Arc<ServerConfig>,
    /// None where there is no authority by which to know whom we have connected to.
    pub client: Option<Arc<ClientConfig>>,
    pub warnings: Vec<String>,
}

impl Parts {
    /// # Errors
    /// What cannot be used, with the name of its file.
    pub fn build(&self) -> Result<Contexts, String> {
        let mut chosen = self.wish.choose()?;
        let provider = provider(&mut chosen);
        let mut warnings = std::mem::take(&mut chosen.warnings);
        let roots = roots(&self.authorities, &mut warnings)?;
        let own = self.own.certified(&provider)?;
        let as_client = match &self.own_as_client {
            Some(pair) => pair.certified(&provider)?,
            None => Arc::clone(&own),
        };
        let text = |error: Error| error.to_string();
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&chosen.versions)
            .map_err(text)?;
        let builder = match (&self.asks, &roots) {
            (Asks::Nobody, _) => builder.with_no_client_auth(),
            (_, None) => return Err(NO_AUTHORITY.into()),
            (asks, Some(roots)) => {
                let verifier = WebPkiClientVerifier::builder_with_provider(
                    Arc::clone(roots),
                    Arc::clone(&provider),
                );
                let verifier = match asks {
                    Asks::WhoeverHas => verifier.allow_unauthenticated(),
                    _ => verifier,
                };
                builder.with_client_cert_verifier(verifier.build().map_err(|it| it.to_string())?)
            }
        };
        let mut server = builder.with_cert_resolver(Arc::new(Always(own)));
        server.ignore_client_order = self.prefers_own_order;
        if self.sessions == 0 {
            server.session_storage = Arc::new(NoServerSessionStorage {});
            server.send_tls13_tickets = 0;
        } else {
            server.session_storage = ServerSessionMemoryCache::new(self.sessions);
            server.send_tls13_tickets = 1;
        }
        let client = match roots {
            None => None,
            Some(roots) => Some(connecting(&chosen, provider, roots, Some(as_client))?),
        };
        Ok(Contexts { server: Arc::new(server), client, warnings })
    }
}

impl Connecting {
    /// # Errors
    /// What cannot be used, with the name of its file.
    pub fn build(&self) -> Result<Arc<ClientConfig>, String> {
        let mut chosen = self.wish.choose()?;
        let provider = provider(&mut chosen);
        let roots = roots(&self.authorities, &mut Vec::new())?;
        let roots = roots.ok_or("there is no CA certificate to know the server by")?;
        let shows = self.shows.as_ref().map(|pair| pair.certified(&provider)).transpose()?;
        connecting(&chosen, provider, roots, shows)
    }
}

fn provider(chosen: &mut Choice) -> Arc<CryptoProvider> {
    let cipher_suites = std::mem::take(&mut chosen.suites);
    Arc::new(CryptoProvider { cipher_suites, ..ring::default_provider() })
}

fn roots(
    authorities: &[(String, Vec<u8>)],
    warnings: &mut Vec<String>,
) -> Result<Option<Arc<RootCertStore>>, String> {
    let mut roots = RootCertStore::empty();
    for (file, text) in authorities {
        let found = certificates(file, text)?;
        let (_, ignored) = roots.add_parsable_certificates(found);
        if ignored > 0 {
            warnings.push(format!("{file}: {ignored} certificates cannot be used"));
        }
    }
    if roots.is_empty() && !authorities.is_empty() {
        return Err("none of the CA certificates can be used".into());
    }
    Ok((!roots.is_empty()).then(|| Arc::new(roots)))
}

fn connecting(
    chosen: &Choice,
    provider: Arc<CryptoProvider>,
    roots: Arc<RootCertStore>,
    shows: Option<Arc<CertifiedKey>>,
) -> Result<Arc<ClientConfig>, String> {
    let trust = AnyName::new(roots, Arc::clone(&provider))?;
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&chosen.versions)
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(trust));
    Ok(Arc::new(match shows {
        Some(shows) => builder.with_client_cert_resolver(Arc::new(Always(shows))),
        None => builder.with_no_client_auth(),
    }))
}

/// In Redis' words, so that what people have written about it is found.
pub const NO_AUTHORITY: &str = "Either tls-ca-cert-file or tls-ca-cert-dir must be specified when tls-cluster, \
                                tls-replication or tls-auth-clients are enabled!";

impl Pair {
    fn certified(&self, provider: &CryptoProvider) -> Result<Arc<CertifiedKey>, String> {
        let chain = certificates(&self.certificate_file, &self.certificate)?;
        let file = &self.key_file;
        let key = keys::private(file, &self.key, &self.password)?;
        let key = provider
            .key_provider
            .load_private_key(key)
            .map_err(|error| format!("{file}: the key cannot be used: {error}"))?;
        let certified = CertifiedKey::new(chain, key);
        match certified.keys_match() {
            Err(Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => Err(format!(
                "{file} is not the key of the certificate in {}",
                self.certificate_file
            )),
            // What else it finds strange of our own certificate is for the peers to judge.
            _ => Ok(Arc::new(certified)),
        }
    }
}

fn certificates(file: &str, text: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    let found = found.map_err(|error| format!("{file}: no certificate: {error}"))?;
    if found.is_empty() {
        return Err(format!("{file}: there is no certificate in it"));
    }
    Ok(found)
}

/// The same certificate for everybody.
#[derive(Debug)]
struct Always(Arc<CertifiedKey>);

impl ResolvesServerCert for Always {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

impl ResolvesClientCert for Always {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}
