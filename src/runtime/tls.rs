//! Keys and certificates from their files, for all cores; read anew when a setting says so.
//!
//! Reading takes as long as a disk may take, so it is done on a thread beside the loop, but at the start.
//!
//! Not here: what is made of them (`tls/contexts.rs`), connections (`streams.rs`).

use crate::node::certificates::Unusable;
use crate::node::settings::{AuthClients, Secret, Settings};
use crate::runtime::doors::{Wanted, wanted};
use crate::runtime::serve::path;
use crate::tls::choice::Wish;
use crate::tls::contexts::{Asks, Contexts, NO_AUTHORITY, Pair, Parts};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::sync::{Arc, RwLock};

/// What new connections begin with, on whichever thread; none where TLS is not asked for.
#[derive(Debug, Default)]
pub struct Store(RwLock<Option<Arc<Contexts>>>);

impl Store {
    /// A store with what the settings say.
    ///
    /// # Errors
    /// What cannot be used, with the name of its file.
    pub fn of(settings: &Settings) -> Result<Arc<Self>, String> {
        let store = Self::default();
        store.put(build(settings)?);
        Ok(Arc::new(store))
    }

    #[must_use]
    pub fn get(&self) -> Option<Arc<Contexts>> {
        self.0.read().map_or(None, |it| it.clone())
    }

    fn put(&self, contexts: Option<Arc<Contexts>>) {
        if let Ok(mut place) = self.0.write() {
            *place = contexts;
        }
    }
}

/// A reload under way.
#[derive(Debug)]
pub struct Reload {
    read: Receiver<Result<Read, Unusable>>,
}

/// What was read and looked up for settings that shall hold.
#[derive(Debug)]
pub struct Read {
    contexts: Option<Arc<Contexts>>,
    /// Where to listen, where that changes.
    pub doors: Option<Vec<Wanted>>,
}

impl Read {
    /// New connections begin with this from here on.
    pub fn hold(self, store: &Store) {
        store.put(self.contexts);
    }
}

impl Reload {
    /// `moves`: addresses or ports change.
    #[must_use]
    pub fn start(settings: Settings, moves: bool) -> Self {
        let (tell, read) = channel();
        let work = move || {
            let contexts = build(&settings).map_err(Unusable::Tls)?;
            let doors = moves.then(|| wanted(&settings)).transpose();
            doors.map(|doors| Read { contexts, doors }).map_err(Unusable::Addresses)
        };
        // Where no thread can be had, `take` says so.
        let thread = std::thread::Builder::new().name("certificates".to_string());
        let _ = thread.spawn(move || drop(tell.send(work())));
        Self { read }
    }

    /// What became of it, once.
    #[must_use]
    pub fn take(&self) -> Option<Result<Read, Unusable>> {
        match self.read.try_recv() {
            Ok(read) => Some(read),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => {
                Some(Err(Unusable::Tls("no thread can be started".into())))
            }
        }
    }
}

/// None where nothing asks for TLS.
fn build(settings: &Settings) -> Result<Option<Arc<Contexts>>, String> {
    let wanted = settings.tls_port != 0 || settings.tls_replication || settings.tls_cluster;
    if !wanted {
        return Ok(None);
    }
    let contexts = parts(settings)?.build()?;
    for line in &contexts.warnings {
        tracing::warn!("{line}");
    }
    Ok(Some(Arc::new(contexts)))
}

/// The words of a setting.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn parts(settings: &Settings) -> Result<Parts, String> {
    if settings.tls_cert_file.is_empty() {
        return Err("No tls-cert-file configured!".into());
    }
    if settings.tls_key_file.is_empty() {
        return Err("No tls-key-file configured!".into());
    }
    let authorities = authorities(settings)?;
    let asks = match settings.tls_auth_clients {
        AuthClients::No => Asks::Nobody,
        AuthClients::Yes => Asks::Everybody,
        AuthClients::Optional => Asks::WhoeverHas,
    };
    let needs_authority = asks != Asks::Nobody || settings.tls_replication || settings.tls_cluster;
    if needs_authority && authorities.is_empty() {
        return Err(NO_AUTHORITY.into());
    }
    let own_as_client =
        match (settings.tls_client_cert_file.as_slice(), settings.tls_client_key_file.as_slice()) {
            ([], _) => None,
            (_, []) => {
                return Err("tls-client-cert-file is given, but no tls-client-key-file".into());
            }
            (certificate, key) => {
                Some(pair(settings, certificate, key, &settings.tls_client_key_file_pass)?)
            }
        };
    Ok(Parts {
        own: pair(
            settings,
            &settings.tls_cert_file,
            &settings.tls_key_file,
            &settings.tls_key_file_pass,
        )?,
        own_as_client,
        authorities,
        asks,
        wish: Wish {
            protocols: text(&settings.tls_protocols),
            ciphers: text(&settings.tls_ciphers),
            ciphersuites: text(&settings.tls_ciphersuites),
        },
        prefers_own_order: settings.tls_prefer_server_ciphers,
        sessions: match settings.tls_session_caching {
            // Redis: no limit.
            true if settings.tls_session_cache_size == 0 => SESSIONS_MAX,
            true => usize::try_from(settings.tls_session_cache_size)
                .map_or(SESSIONS_MAX, |it| it.min(SESSIONS_MAX)),
            false => 0,
        },
    })
}

/// Sessions that are kept at most, of about a kilobyte each.
const SESSIONS_MAX: usize = 262_144;

/// A name is one from the root, or from `dir`.
fn place(settings: &Settings, name: &[u8]) -> PathBuf {
    path(&settings.dir).join(path(name))
}

fn pair(
    settings: &Settings,
    certificate: &[u8],
    key: &[u8],
    password: &Secret,
) -> Result<Pair, String> {
    Ok(Pair {
        certificate: read(&place(settings, certificate))?,
        key: read(&place(settings, key))?,
        certificate_file: text(certificate),
        key_file: text(key),
        password: password.0.clone(),
    })
}

/// The file and all files of the directory.
fn authorities(settings: &Settings) -> Result<Vec<(String, Vec<u8>)>, String> {
    let mut found = Vec::new();
    if !settings.tls_ca_cert_file.is_empty() {
        let file = place(settings, &settings.tls_ca_cert_file);
        found.push((file.display().to_string(), read(&file)?));
    }
    if !settings.tls_ca_cert_dir.is_empty() {
        let dir = place(settings, &settings.tls_ca_cert_dir);
        let wrong = |error| format!("{}: {error}", dir.display());
        let mut files = Vec::new();
        for entry in std::fs::read_dir(&dir).map_err(wrong)? {
            let file = entry.map_err(wrong)?.path();
            if file.is_file() {
                files.push(file);
            }
        }
        files.sort();
        for file in files {
            let text = read(&file)?;
            // Beside certificates such a directory has lists of revoked ones, notes and keys.
            if text.windows(MARK.len()).any(|it| it == MARK) {
                found.push((file.display().to_string(), text));
            }
        }
    }
    Ok(found)
}

const MARK: &[u8] = b"BEGIN CERTIFICATE";

fn read(file: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(file).map_err(|error| format!("{}: {error}", file.display()))
}
