//! TLS against a real redis-server: filling, running, verifying, and certificates that are refused.

#![expect(clippy::unwrap_used, reason = "a test may panic")]
#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "tests wait for processes"
)]

#[expect(dead_code, reason = "other tests use the rest")]
mod common;

use common::{Server, finish, free_port, json, loadgen};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use std::path::Path;

/// An authority, and what it has signed for the server and the clients, in files of this folder.
fn certificates(dir: &Path) {
    std::fs::create_dir_all(dir).unwrap();
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, dir.to_str().unwrap());
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    std::fs::write(dir.join("ca.crt"), params.self_signed(&key).unwrap().pem()).unwrap();
    let issuer = Issuer::new(params, key);
    let own = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["localhost".to_string()]).unwrap();
    let signed = params.signed_by(&own, &issuer).unwrap();
    std::fs::write(dir.join("own.crt"), signed.pem()).unwrap();
    std::fs::write(dir.join("own.key"), own.serialize_pem()).unwrap();
}

#[test]
fn a_run_over_tls_loses_nothing_and_says_who_is_not_trusted() {
    let dir = std::env::temp_dir().join(format!("loadgen-tls-{}", std::process::id()));
    let other = dir.join("other");
    certificates(&dir);
    certificates(&other);
    let file = |name: &str| dir.join(name).to_str().unwrap().to_string();
    let port = free_port().to_string();
    let server = Server::start(&[
        "--tls-port",
        &port,
        "--tls-cert-file",
        &file("own.crt"),
        "--tls-key-file",
        &file("own.key"),
        "--tls-ca-cert-file",
        &file("ca.crt"),
    ]);
    let report = server.dir.join("r.json");
    for protocols in ["TLSv1.2", "TLSv1.3"] {
        let mut command = loadgen(&format!("--port {port} --tls --cacert {}", file("ca.crt")));
        command.args(["--cert", &file("own.crt"), "--key", &file("own.key")]);
        command.args(["--tls-protocols", protocols, "-n", "20000", "-c", "40", "-P", "9"]);
        command.args(["--threads", "2", "--keys", "700", "--fill", "--verify"]);
        command.args(["--value", "16-400"]).arg("--json").arg(&report);
        let (code, out, err) = finish(command);
        assert_eq!((code, err.as_str()), (0, ""), "{out}");
        assert_eq!(json(&report)["requests"], 20_000);
        assert_eq!(json(&report)["nulls"], 0, "every key was filled");
    }
    // It does not know the server's authority; it shows no certificate; its own is another's.
    let other = |name: &str| other.join(name).to_str().unwrap().to_string();
    for (authority, shown) in [
        (other("ca.crt"), Some((file("own.crt"), file("own.key")))),
        (file("ca.crt"), None),
        (file("ca.crt"), Some((other("own.crt"), other("own.key")))),
    ] {
        let mut command = loadgen(&format!("--port {port} --tls --cacert {authority} -n 10 -c 2"));
        if let Some((certificate, key)) = shown {
            command.args(["--cert", &certificate, "--key", &key]);
        }
        let (code, out, err) = finish(command);
        assert!(code != 0 && !err.is_empty(), "{out} {err}");
    }
    let (code, _, err) = finish(loadgen(&format!("--port {port} --tls -n 10")));
    assert!(code != 0 && err.contains("--cacert"), "{err}");
    let _removed = std::fs::remove_dir_all(&dir);
}
