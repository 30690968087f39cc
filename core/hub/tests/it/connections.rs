//! Connections that break, servers that fail, and to whom the token goes.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;
use std::time::Duration;

use crate::support::server::Response;
use crate::support::site::{COMMIT, Site};
use crate::support::{Test, assert_whole, model, weights};

const SECRET: &str = "hf_secret";

#[test]
fn the_token_goes_to_the_hub_alone() {
    let other = model();
    let site = model().elsewhere(other.other_url()).for_holders_of(SECRET);
    let test = Test::new(&site).token(SECRET);
    test.fetch("owner/tiny").unwrap();
    let with_token = |site: &Site| {
        let requests = site.requests();
        let with = |name: &str| {
            requests
                .iter()
                .filter(|r| r.headers.contains_key(name))
                .count()
        };
        (with("authorization"), requests.len())
    };
    let (with, all) = with_token(&site);
    assert_eq!(with, all, "{}", site.log());
    let (with, all) = with_token(&other);
    assert_eq!((with, all), (0, 1), "{}", other.log());
    let seen = format!("{:?}", other.requests());
    assert!(!seen.contains(SECRET), "{seen}");
}

#[test]
fn another_port_is_another_server() {
    let other = model();
    let site = model().elsewhere(other.url());
    Test::new(&site).token(SECRET).fetch("owner/tiny").unwrap();
    assert!(!other.log().contains("with a token"), "{}", other.log());
}

#[test]
fn a_description_that_moved_elsewhere_is_asked_for_without_the_token() {
    let other = model();
    let site = model();
    let there = format!("{}/api/models/owner/tiny/revision/main", other.url());
    site.replace("GET", "/api/", Response::new(302).header("Location", there));
    Test::new(&site).token(SECRET).fetch("owner/tiny").unwrap();
    assert!(!other.log().contains("with a token"), "{}", other.log());
}

#[test]
fn a_repository_that_was_renamed() {
    let site = model();
    let moved = |to: String| Response::new(307).header("Location", to);
    let description = "/api/models/owner/tiny/revision/main?blobs=true";
    site.replace("GET", "/api/models/owner/old/", moved(description.into()));
    for name in ["config.json", "tokenizer.json", "model.safetensors"] {
        let file = |repository| format!("/owner/{repository}/resolve/{COMMIT}/{name}");
        for method in ["HEAD", "GET"] {
            site.replace(method, file("old"), moved(file("tiny")));
        }
    }
    let test = Test::new(&site).token(SECRET);
    let snapshot = test.fetch("owner/old").unwrap();
    assert_whole(&snapshot);
    assert!(
        site.requests()
            .iter()
            .all(|request| request.headers.contains_key("authorization"))
    );
}

#[test]
fn redirects_that_lead_nowhere() {
    let locations = [
        None,
        Some("ftp://hub/x"),
        Some("/api/models/owner/tiny/revision/main"),
    ];
    let errors = locations.map(|location| {
        let site = model();
        let response = Response::new(302);
        let response = match location {
            Some(location) => response.header("Location", location),
            None => response,
        };
        site.replace("GET", "/api/", response);
        Test::new(&site).error("owner/tiny")
    });
    insta::assert_snapshot!(errors.join("\n"), @r#"
    owner/tiny@main: [HUB]/api/models/owner/tiny/revision/main?blobs=true: expected a redirect to an address, found ""
    owner/tiny@main: [HUB]/api/models/owner/tiny/revision/main?blobs=true: expected a redirect to an address, found "ftp://hub/x"
    owner/tiny@main: [HUB]/api/models/owner/tiny/revision/main?blobs=true: expected redirects that end, found more than 10 of them
    "#);
}

#[test]
fn a_server_that_fails_for_a_while() {
    let site = model();
    site.replace_times(Some(2), "GET", "/api/", Response::new(503));
    site.replace_times(Some(2), "HEAD", "config.json", Response::new(429));
    site.replace_times(Some(2), "GET", "/large/", Response::new(502));
    let test = Test::new(&site);
    test.fetch("owner/tiny").unwrap();
    let steps = test.steps();
    assert!(
        steps.contains("model.safetensors: trying again: "),
        "{steps}"
    );
}

#[test]
fn a_server_that_keeps_failing() {
    let site = model();
    let down = Response::new(503).header("X-Error-Message", "Maintenance until noon");
    site.replace("GET", "/api/", down);
    let test = Test::new(&site);
    insta::assert_snapshot!(test.error("owner/tiny"), @"owner/tiny@main: [HUB]/api/models/owner/tiny/revision/main?blobs=true: the server answered 503 (Maintenance until noon), 3 times in a row");
    assert_eq!(site.requests().len(), 3);
}

#[test]
fn nobody_there() {
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let test = Test::at(format!("http://127.0.0.1:{port}"));
    insta::assert_snapshot!(test.error("owner/tiny"), @"owner/tiny@main: [HUB] cannot be reached: Connection refused (os error 111); --offline or HF_HUB_OFFLINE=1 takes what is in the cache");
    let error = Test::at("http://no-such-host.invalid".into()).error("owner/tiny");
    assert!(
        error.starts_with("owner/tiny@main: [HUB] cannot be reached: "),
        "{error}"
    );
}

#[test]
fn a_server_that_speaks_no_tls() {
    let site = model();
    let test = Test::at(site.url().replace("http:", "https:"));
    insta::assert_snapshot!(test.error("owner/tiny"), @"owner/tiny@main: [HUB]/api/models/owner/tiny/revision/main?blobs=true: unexpected end of file, 3 times in a row");
}

#[test]
fn a_server_that_hangs() {
    let site = model();
    site.replace(
        "GET",
        "/api/",
        Response::new(200).delay(Duration::from_secs(5)),
    );
    let test = Test::new(&site).impatient();
    insta::assert_snapshot!(test.error("owner/tiny"), @"owner/tiny@main: [HUB]/api/models/owner/tiny/revision/main?blobs=true: no answer within 1 s, 3 times in a row");
}

#[test]
fn a_server_that_hangs_in_the_middle_of_a_file() {
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", other.local_addr().unwrap());
    // It promises, begins, and says no more.
    thread::spawn(move || {
        let mut open = Vec::new();
        for stream in other.incoming().take(3) {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]).unwrap();
            let head = "HTTP/1.1 206 -\r\nContent-Range: bytes 0-3999999/4000000\r\nContent-Length: 4000000\r\n\r\n";
            stream.write_all(head.as_bytes()).unwrap();
            open.push(stream);
        }
        thread::sleep(Duration::from_secs(5));
    });
    let site = model().elsewhere(address);
    let test = Test::new(&site).impatient();
    insta::assert_snapshot!(test.error("owner/tiny"), @"owner/tiny@main: [HUB]/owner/tiny/resolve/0123456789abcdef0123456789abcdef01234567/model.safetensors: nothing arrived for 1 s, 3 times in a row");
}

#[test]
fn a_connection_that_breaks_is_taken_up_where_it_broke() {
    let site = model();
    let half = Response::new(200).body(weights()).cut(2_000_000);
    site.replace_times(Some(1), "GET", "/large/", half);
    let test = Test::new(&site);
    let snapshot = test.fetch("owner/tiny").unwrap();
    assert_whole(&snapshot);
    assert!(site.log().contains("bytes=2000000-"), "{}", site.log());
}

#[test]
fn a_file_that_ends_early_is_never_taken_for_the_whole() {
    let site = model();
    let nothing_more = Response::new(206).header("Content-Range", "bytes 2000000-2000000/4000000");
    site.replace_times(
        Some(1),
        "GET",
        "/large/",
        Response::new(200).body(weights()).cut(2_000_000),
    );
    site.replace("GET", "/large/", nothing_more);
    let mut test = Test::new(&site);
    insta::assert_snapshot!(test.error("owner/tiny"), @"owner/tiny@main: model.safetensors: expected 4000000 bytes, found 2000000");
    assert!(!test.path("refs/main").exists());
    // What has arrived is not asked for again.
    let whole = model();
    test.settings.endpoint = whole.url();
    test.fetch("owner/tiny").unwrap();
    assert!(whole.log().contains("bytes=2000000-"), "{}", whole.log());
}

#[test]
fn a_file_that_does_not_end_where_it_should() {
    let site = model();
    let mut longer = weights();
    longer.extend([0; 1000]);
    site.replace("GET", "/large/", Response::new(200).body(longer));
    let test = Test::new(&site);
    insta::assert_snapshot!(test.error("owner/tiny"), @"owner/tiny@main: model.safetensors: expected 4000000 bytes, found 4001000");
}

#[test]
fn a_file_of_another_content() {
    let site = model();
    let mut other = weights();
    other[1_234_567] ^= 1;
    site.replace_times(Some(1), "GET", "/large/", Response::new(200).body(other));
    let test = Test::new(&site);
    insta::assert_snapshot!(test.error("owner/tiny"), @"owner/tiny@main: model.safetensors: expected content of sha256 83c1d15f89128c81eb86de86a556aeb2753aeac4c6029caa170082a0a81e02e1, found 53e2d5bc3d3fa8a7ce2b5b17e49dd4105328fdadedeadda32086436728dc673f; nothing of it is kept");
    assert!(!test.tree().contains("incomplete"), "{}", test.tree());
    test.fetch("owner/tiny").unwrap();
}

#[test]
fn a_piece_that_does_not_fit_what_is_there() {
    let site = model();
    site.replace_times(
        Some(1),
        "GET",
        "/large/",
        Response::new(200).body(weights()).cut(2_000_000),
    );
    let piece = Response::new(206)
        .header("Content-Range", "bytes 0-999/4000000")
        .body(vec![0; 1000]);
    site.replace("GET", "/large/", piece);
    insta::assert_snapshot!(Test::new(&site).error("owner/tiny"), @"owner/tiny@main: [HUB]/owner/tiny/resolve/0123456789abcdef0123456789abcdef01234567/model.safetensors: expected a Content-Range that begins where the file on disk ends, found bytes 0-999/4000000");
}
