//! A service by HTTPS: whom the command trusts, and what it says of whom it does not.

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

use super::Place;
use super::service::Service;

/// One that issues certificates, with its own.
fn authority() -> (Issuer<'static, KeyPair>, String) {
    let mut parameters = CertificateParams::new(vec!["127.0.0.1".to_string()]).expect("parameters");
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("a key");
    let certificate = parameters.self_signed(&key).expect("a certificate").pem();
    (Issuer::new(parameters, key), certificate)
}

fn serve(place: &Place, certificate: &str, key: &str) -> Service {
    std::fs::write(place.path("cert.pem"), certificate).expect("a file");
    std::fs::write(place.path("key.pem"), key).expect("a file");
    Service::start(place, &["--tls-certificate", "cert.pem", "--tls-key", "key.pem"])
}

#[test]
fn the_certificates_of_a_file_are_trusted_and_no_others() {
    let place = Place::new();
    let (issuer, trusted) = authority();
    let (_, other) = authority();
    std::fs::write(place.path("ca.pem"), format!("{other}{trusted}")).expect("a file");
    std::fs::write(place.path("other.pem"), other).expect("a file");
    let key = KeyPair::generate().expect("a key");
    let parameters = CertificateParams::new(vec!["127.0.0.1".to_string()]).expect("parameters");
    let certificate = parameters.signed_by(&key, &issuer).expect("a certificate").pem();
    let service = serve(&place, &certificate, &key.serialize_pem());
    let url = format!("https://{}", service.address);
    let with = ["--ca-file", "ca.pem"];
    let put = [&["put", &url, "t", "k", "v"][..], &with].concat();
    assert!(place.good(&put).starts_with("version 1,"));
    assert_eq!(place.good(&[&["get", &url, "t", "k"][..], &with].concat()), "v");
    assert_eq!(
        place.good(&[&[&url, "-e", "table t", "-e", "get k"][..], &with].concat()),
        "v\n",
        "a session too"
    );
    let export = [&["export", &url, "--all", "-o", "all.dump"][..], &with].concat();
    assert!(place.good(&export).starts_with("1 records"));
    let line = place.bad(4, &["get", &url, "t", "k", "--ca-file", "other.pem"]);
    assert!(line.contains("is not trusted") && line.contains("--ca-file FILE"), "{line}");
    place.bad(4, &["put", &url, "t", "k", "w", "--ca-file", "other.pem"]);
    assert!(place.bad(2, &["get", &url, "t", "k", "--ca-file", "key.pem"]).contains("no certificate in PEM"));
    assert!(place.bad(1, &["get", &url, "t", "k", "--ca-file", "nowhere"]).contains("cannot read nowhere"));
    assert!(place.bad(4, &["get", &service.url(), "t", "k"]).contains("https://"), "no plain HTTP");
    assert_eq!(place.good(&[&["get", &url, "t", "k"][..], &with].concat()), "v", "as it was");
    service.end();
}

#[test]
fn a_certificate_of_its_own_must_not_be_one_to_issue_with() {
    let place = Place::new();
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_string()]).expect("a certificate");
    let service = serve(&place, &made.cert.pem(), &made.signing_key.serialize_pem());
    let url = format!("https://{}", service.address);
    assert_eq!(place.good(&["tables", &url, "--ca-file", "cert.pem"]), "");
    service.end();
    let (issuer, certificate) = authority();
    let service = serve(&place, &certificate, &issuer.key().serialize_pem());
    let url = format!("https://{}", service.address);
    let line = place.bad(4, &["tables", &url, "--ca-file", "cert.pem"]);
    assert!(line.contains("CA:FALSE"), "{line}");
    service.end();
}
