//! A TCP proxy between a client (or replica) and a server, that makes faults on demand.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

/// Changes a piece of what a server sends, given how many pieces went before it.
pub type Tamper = fn(u64, &mut [u8]);

/// A listening proxy. Dropping it ends its connections; its threads end with them.
pub struct Proxy {
    pub port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    target: String,
    tamper: Option<Tamper>,
    pieces: AtomicU64,
    cut: AtomicBool,
    closed: AtomicBool,
    streams: Mutex<Vec<TcpStream>>,
}

impl Proxy {
    pub fn to(target: &str) -> Self {
        Self::start(target, None)
    }

    /// A proxy that lets `tamper` at every piece of bytes from the server.
    pub fn tampering(target: &str, tamper: Tamper) -> Self {
        Self::start(target, Some(tamper))
    }

    fn start(target: &str, tamper: Option<Tamper>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            target: target.to_string(),
            tamper,
            pieces: AtomicU64::new(0),
            cut: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            streams: Mutex::new(Vec::new()),
        });
        let inner = Arc::clone(&shared);
        thread::spawn(move || accept(&listener, &inner));
        Self { port, shared }
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Breaks all connections, and refuses new ones until `mend`.
    pub fn cut(&self) {
        self.shared.cut.store(true, Ordering::SeqCst);
        self.shared.end_streams();
    }

    pub fn mend(&self) {
        self.shared.cut.store(false, Ordering::SeqCst);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::SeqCst);
        self.shared.end_streams();
        // Wakes the accepting thread, so that it can see that it is over.
        let _ = TcpStream::connect(self.address());
    }
}

impl Shared {
    fn end_streams(&self) {
        for stream in self.streams.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for near in listener.incoming().flatten() {
        if shared.closed.load(Ordering::SeqCst) {
            return;
        }
        if shared.cut.load(Ordering::SeqCst) {
            continue;
        }
        let Ok(far) = TcpStream::connect(&shared.target) else {
            continue;
        };
        let _ = (near.set_nodelay(true), far.set_nodelay(true));
        let (near_too, far_too) = (near.try_clone().unwrap(), far.try_clone().unwrap());
        let mut streams = shared.streams.lock().unwrap();
        streams.extend([near.try_clone().unwrap(), far.try_clone().unwrap()]);
        drop(streams);
        let inner = Arc::clone(shared);
        thread::spawn(move || pump(near, &far, None));
        thread::spawn(move || pump(far_too, &near_too, Some(&inner)));
        if shared.cut.load(Ordering::SeqCst) {
            shared.end_streams();
        }
    }
}

fn pump(mut from: TcpStream, mut to: &TcpStream, tampering: Option<&Shared>) {
    let mut bytes = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        if let Some((shared, tamper)) = tampering.and_then(|it| Some((it, it.tamper?))) {
            tamper(shared.pieces.fetch_add(1, Ordering::Relaxed), &mut bytes[..count]);
        }
        if to.write_all(&bytes[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}
