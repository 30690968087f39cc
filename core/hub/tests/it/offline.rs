//! The cache alone.

use std::fs;

use crate::support::site::{COMMIT, Site};
use crate::support::{Test, model};

const NOBODY: &str = "http://127.0.0.1:9";

#[test]
fn what_was_downloaded_is_there() {
    let site = model();
    let test = Test::new(&site);
    let snapshot = test.fetch("owner/tiny").unwrap();
    let requests = site.requests().len();
    let test = test.offline();
    assert_eq!(test.fetch("owner/tiny").unwrap(), snapshot);
    assert_eq!(
        test.fetch(&format!("owner/tiny@{COMMIT}")).unwrap(),
        snapshot
    );
    assert_eq!(site.requests().len(), requests);
}

#[test]
fn what_was_not_downloaded_is_not_there() {
    let test = Test::at(NOBODY.into()).offline();
    insta::assert_snapshot!(test.error("owner/tiny"), @"owner/tiny@main: found no copy of it in the cache [CACHE], and offline nothing is downloaded");
    insta::assert_snapshot!(test.error(&format!("owner/tiny@{COMMIT}")), @"owner/tiny@0123456789abcdef0123456789abcdef01234567: found no copy of it in the cache [CACHE], and offline nothing is downloaded");
    let site = model();
    let test = Test::new(&site);
    test.fetch("owner/tiny").unwrap();
    insta::assert_snapshot!(test.offline().error("owner/tiny@v2"), @"owner/tiny@v2: found no copy of it in the cache [CACHE], and offline nothing is downloaded");
}

#[test]
fn a_copy_that_somebody_else_made() {
    let test = Test::at(NOBODY.into()).offline();
    test.write("refs/main", COMMIT);
    test.write(&format!("snapshots/{COMMIT}/config.json"), "{}");
    insta::assert_snapshot!(test.error("owner/tiny"), @"owner/tiny@main: [CACHE]/models--owner--tiny/snapshots/0123456789abcdef0123456789abcdef01234567/model.safetensors: it is missing from the copy in the cache, and offline nothing is downloaded");
    test.write(&format!("snapshots/{COMMIT}/model.safetensors"), "weights");
    // What a model may have besides, nobody misses.
    test.fetch("owner/tiny").unwrap();
}

#[test]
fn a_copy_that_lacks_a_shard() {
    let test = Test::at(NOBODY.into()).offline();
    test.write("refs/main", COMMIT);
    let write =
        |name: &str, content: &str| test.write(&format!("snapshots/{COMMIT}/{name}"), content);
    write("config.json", "{}");
    write(
        "model.safetensors.index.json",
        "{\"weight_map\": {\"a\": \"1.safetensors\", \"b\": \"2.safetensors\"}}",
    );
    write("1.safetensors", "one");
    insta::assert_snapshot!(test.error("owner/tiny"), @"owner/tiny@main: [CACHE]/models--owner--tiny/snapshots/0123456789abcdef0123456789abcdef01234567/2.safetensors: it is missing from the copy in the cache, and offline nothing is downloaded");
    write("2.safetensors", "two");
    test.fetch("owner/tiny").unwrap();
}

#[test]
fn a_content_that_is_gone() {
    let site: Site = model();
    let test = Test::new(&site);
    let snapshot = test.fetch("owner/tiny").unwrap();
    let test = test.offline();
    for name in ["tokenizer.json", "model.safetensors"] {
        let file = snapshot.folder.join(name);
        fs::remove_file(fs::canonicalize(&file).unwrap()).unwrap();
    }
    insta::assert_snapshot!(test.error("owner/tiny"), @"owner/tiny@main: [CACHE]/models--owner--tiny/snapshots/0123456789abcdef0123456789abcdef01234567/tokenizer.json: its content is gone from the cache, and offline nothing is downloaded");
    fs::remove_file(snapshot.folder.join("tokenizer.json")).unwrap();
    insta::assert_snapshot!(test.error("owner/tiny"), @"owner/tiny@main: [CACHE]/models--owner--tiny/snapshots/0123456789abcdef0123456789abcdef01234567/model.safetensors: its content is gone from the cache, and offline nothing is downloaded");
}

#[test]
fn a_reference_to_no_commit() {
    let test = Test::at(NOBODY.into()).offline();
    test.write("refs/main", "../../elsewhere");
    insta::assert_snapshot!(test.error("owner/tiny"), @"owner/tiny@main: found no copy of it in the cache [CACHE], and offline nothing is downloaded");
}
