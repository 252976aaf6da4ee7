//! The description of the interface is that of the routes, and the page that shows it needs nothing from elsewhere.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::common::Service;

const METHODS: [&str; 5] = ["get", "head", "put", "post", "delete"];

fn operations(api: &Value) -> Vec<(String, String, Value)> {
    let paths = api["paths"].as_object().expect("paths");
    let of_path = |(path, methods): (&String, &Value)| {
        let methods = methods.as_object().expect("methods").clone();
        methods.into_iter().map(|(method, described)| (path.clone(), method, described)).collect::<Vec<_>>()
    };
    paths.iter().flat_map(of_path).collect()
}

/// A path of this kind.
fn filled(path: &str) -> String {
    path.replace("{table}", "t").replace("{key}", "k").replace("{id}", "1").replace("{file}", "main.js")
}

/// What is described is there, and has the methods that are described and no others.
#[test]
fn routes_and_description_are_the_same() {
    let service = Service::start();
    service.table("t", "{}");
    service.put("/v1/tables/t/documents/k", b"x");
    let api = service.get("/openapi.json").json();
    assert!(api["openapi"].as_str().is_some_and(|version| version.starts_with("3.1")), "{}", api["openapi"]);
    let operations = operations(&api);
    assert!(operations.len() >= 25, "{}", operations.len());
    let paths: BTreeSet<&String> = operations.iter().map(|(path, ..)| path).collect();
    for path in paths {
        let described: BTreeSet<&str> = operations
            .iter()
            .filter(|(known, ..)| known == path)
            .map(|(_, method, _)| method.as_str())
            .collect();
        assert!(described.iter().all(|method| METHODS.contains(method)), "{path}: {described:?}");
        let answer = service.request("PATCH", &filled(path)).send();
        answer.is_problem(405, "method-not-allowed");
        let allowed = answer.header("allow").expect("what is allowed").to_ascii_lowercase();
        let mut allowed: BTreeSet<&str> = allowed.split(',').map(str::trim).collect();
        // Whatever can be got answers HEAD too; it is described where it is of use.
        if !described.contains("head") {
            allowed.remove("head");
        }
        assert_eq!(allowed, described, "{path}");
    }
}

/// An answer that is not described is a surprise to generated clients.
#[test]
fn the_statuses_of_wrong_requests_are_described() {
    let service = Service::start();
    service.table("t", "{}");
    let api = service.get("/openapi.json").json();
    for (path, method, described) in operations(&api) {
        if ["/v1/watch", "/docs", "/", "/openapi.json"].contains(&path.as_str()) {
            continue;
        }
        for (filled, body) in [
            (filled(&path), "{"),
            (filled(&path), "{\"x\": 1}"),
            (format!("{}?unknown=1", filled(&path)), ""),
            (path.replace("{table}", "none").replace("{key}", "%FF").replace("{id}", "x"), "[]"),
        ] {
            let answer = service.request(&method.to_uppercase(), &filled).json(body).send();
            let status = answer.status.to_string();
            assert!(described["responses"].get(&status).is_some(), "{method} {filled} {body}: {answer:?}");
        }
    }
}

#[test]
fn the_page_needs_nothing_from_elsewhere() {
    let service = Service::start();
    let page = service.get("/docs");
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    let policy = page.header("content-security-policy").expect("a policy");
    assert!(policy.contains("default-src 'none'") && policy.contains("connect-src 'self'"), "{policy}");
    assert!(!page.text().contains("http://") && !page.text().contains("https://"), "a link to elsewhere");
    let root = service.get("/");
    assert_eq!((root.status, root.header("location")), (303, Some("/docs")));
}
