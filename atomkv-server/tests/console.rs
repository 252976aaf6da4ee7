//! The console is served to anybody, with headers that keep everything foreign out, and not at all if that is wished.

use crate::common::Service;

fn with_tokens(service_tokens: &str) -> (tempfile::TempDir, Service) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("tokens.toml");
    std::fs::write(&path, service_tokens).expect("written");
    let service = Service::at(&directory.path().join("db"), |config| config.tokens = Some(path));
    (directory, service)
}

#[test]
fn files_come_with_their_types_and_a_strict_policy() {
    let service = Service::start();
    for (path, content_type) in [
        ("/console/", "text/html; charset=utf-8"),
        ("/console/index.html", "text/html; charset=utf-8"),
        ("/console/console.css", "text/css; charset=utf-8"),
        ("/console/main.js", "text/javascript; charset=utf-8"),
        ("/console/icon.svg", "image/svg+xml"),
    ] {
        let answer = service.get(path);
        assert_eq!((answer.status, answer.header("content-type")), (200, Some(content_type)), "{path}");
        let policy = answer.header("content-security-policy").expect("a policy");
        assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
        assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(answer.header("referrer-policy"), Some("no-referrer"));
        assert_eq!(answer.header("cache-control"), Some("no-cache"));
        let head = service.request("HEAD", path).send();
        assert_eq!((head.status, head.header("etag")), (200, answer.header("etag")));
    }
}

/// Nothing is fetched from elsewhere, and no script or style stands in the page, which the policy would refuse.
#[test]
fn the_page_names_files_that_are_served_and_nothing_else() {
    let service = Service::start();
    let page = service.get("/console/");
    let text = page.text();
    for foreign in ["http:", "https:", "//", "<style", " style=", "onclick", "<script>"] {
        assert!(!text.contains(foreign), "{foreign}");
    }
    let marks = ["src=\"", "rel=\"stylesheet\" href=\"", "rel=\"icon\" href=\""];
    for rest in marks.into_iter().flat_map(|mark| text.split(mark).skip(1)) {
        let (name, _) = rest.split_once('"').expect("a name");
        assert_eq!(service.get(&format!("/console/{name}")).status, 200, "{name}");
    }
    for script in ["main.js", "api.js", "document.js", "watch.js"] {
        let script = service.get(&format!("/console/{script}"));
        for line in script.text().lines().filter(|line| line.starts_with("import ")) {
            let name = line.rsplit_once("\"./").and_then(|(_, rest)| rest.split_once('"')).expect("a file").0;
            assert_eq!(service.get(&format!("/console/{name}")).status, 200, "{line}");
        }
    }
}

#[test]
fn what_a_browser_has_is_not_sent_again() {
    let service = Service::start();
    let tag = service.get("/console/main.js").header("etag").expect("a tag").to_string();
    for known in [tag.clone(), format!("W/{tag}"), format!("\"other\", {tag}"), "*".to_string()] {
        let answer = service.request("GET", "/console/main.js").header("If-None-Match", &known).send();
        assert_eq!((answer.status, answer.header("etag")), (304, Some(tag.as_str())), "{known}");
        assert!(answer.body.is_empty());
    }
    let other = service.request("GET", "/console/api.js").header("If-None-Match", &tag).send();
    assert_eq!(other.status, 200);
}

#[test]
fn the_short_address_leads_to_the_console_and_others_nowhere() {
    let service = Service::start();
    let short = service.get("/console");
    assert_eq!((short.status, short.header("location")), (308, Some("/console/")));
    for path in ["/console/none.js", "/console/%2e%2e", "/console/..%2fCargo.toml", "/console/main.js%00"] {
        service.get(path).is_problem(404, "route-not-found");
    }
    service.request("POST", "/console/").send().is_problem(405, "method-not-allowed");
}

#[test]
fn a_service_without_a_console_has_none() {
    let service = Service::with(|config| config.console = false);
    for path in ["/console", "/console/", "/console/main.js"] {
        service.get(path).is_problem(404, "route-not-found");
    }
}

#[test]
fn anybody_may_load_it_and_a_token_is_told_what_it_is_for() {
    let (token, sha256) = atomkv_server::new_token().expect("a token");
    let entry = format!(
        "[[token]]\nname = 'shop'\nsha256 = '{sha256}'\nscopes = ['read', 'write']\ntables = ['orders', 'cart-*']\n"
    );
    let (_directory, service) = with_tokens(&entry);
    assert_eq!(service.get("/console/").status, 200);
    assert_eq!(service.get("/console/main.js").status, 200);
    service.get("/v1/token").is_problem(401, "unauthorized");
    let answer =
        service.request("GET", "/v1/token").header("Authorization", &format!("Bearer {token}")).send();
    assert_eq!(answer.status, 200, "{answer:?}");
    let told =
        serde_json::json!({"name": "shop", "scopes": ["read", "write"], "tables": ["orders", "cart-*"]});
    assert_eq!(answer.json(), told);

    let open = Service::start();
    assert_eq!(open.get("/v1/token").json(), serde_json::json!({"scopes": ["read", "write", "admin"]}));
}
