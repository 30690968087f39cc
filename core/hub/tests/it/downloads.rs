//! What is downloaded, and what is not downloaded again.

use std::fs;
use std::time::Duration;

use serde_json::json;

use crate::support::server::Response;
use crate::support::site::{COMMIT, Site};
use crate::support::{Test, assert_whole, model, weights};

#[test]
fn the_files_of_a_model_and_no_others() {
    let site = model();
    let test = Test::new(&site);
    let snapshot = test.fetch("owner/tiny").unwrap();
    assert_eq!(snapshot.commit.as_str(), COMMIT);
    assert_eq!(snapshot.folder, test.path(&format!("snapshots/{COMMIT}")));
    assert_whole(&snapshot);
    insta::assert_snapshot!(site.log(), @"
    GET /api/models/owner/tiny/revision/main?blobs=true
    HEAD /owner/tiny/resolve/0123456789abcdef0123456789abcdef01234567/config.json
    GET /owner/tiny/resolve/0123456789abcdef0123456789abcdef01234567/config.json
    HEAD /owner/tiny/resolve/0123456789abcdef0123456789abcdef01234567/tokenizer.json
    GET /owner/tiny/resolve/0123456789abcdef0123456789abcdef01234567/tokenizer.json
    HEAD /owner/tiny/resolve/0123456789abcdef0123456789abcdef01234567/model.safetensors
    GET /owner/tiny/resolve/0123456789abcdef0123456789abcdef01234567/model.safetensors
    GET /large/83c1d15f89128c81eb86de86a556aeb2753aeac4c6029caa170082a0a81e02e1
    ");
    insta::assert_snapshot!(test.tree(), @"
    .locks/models--owner--tiny/44136fa355b3678a1146ad16f7e8649e94fb4fc2.lock: 0 bytes
    .locks/models--owner--tiny/83c1d15f89128c81eb86de86a556aeb2753aeac4c6029caa170082a0a81e02e1.lock: 0 bytes
    .locks/models--owner--tiny/8e9d21a8818ac672ea522cbb09b8a360ffbda0bf.lock: 0 bytes
    models--owner--tiny/.no_exist/0123456789abcdef0123456789abcdef01234567/generation_config.json: 0 bytes
    models--owner--tiny/.no_exist/0123456789abcdef0123456789abcdef01234567/special_tokens_map.json: 0 bytes
    models--owner--tiny/.no_exist/0123456789abcdef0123456789abcdef01234567/tokenizer_config.json: 0 bytes
    models--owner--tiny/blobs/44136fa355b3678a1146ad16f7e8649e94fb4fc2: 2 bytes
    models--owner--tiny/blobs/83c1d15f89128c81eb86de86a556aeb2753aeac4c6029caa170082a0a81e02e1: 4000000 bytes
    models--owner--tiny/blobs/8e9d21a8818ac672ea522cbb09b8a360ffbda0bf: 22 bytes
    models--owner--tiny/refs/main: 40 bytes
    models--owner--tiny/snapshots/0123456789abcdef0123456789abcdef01234567/config.json -> ../../blobs/8e9d21a8818ac672ea522cbb09b8a360ffbda0bf
    models--owner--tiny/snapshots/0123456789abcdef0123456789abcdef01234567/model.safetensors -> ../../blobs/83c1d15f89128c81eb86de86a556aeb2753aeac4c6029caa170082a0a81e02e1
    models--owner--tiny/snapshots/0123456789abcdef0123456789abcdef01234567/tokenizer.json -> ../../blobs/44136fa355b3678a1146ad16f7e8649e94fb4fc2
    ");
}

#[test]
fn the_hf_hub_crate_finds_what_was_downloaded() {
    let site = model();
    let test = Test::new(&site);
    let snapshot = test.fetch("owner/tiny").unwrap();
    let cache = hf_hub::Cache::new(test.settings.cache.clone());
    let found = cache.model("owner/tiny".into()).get("model.safetensors");
    assert_eq!(found, Some(snapshot.folder.join("model.safetensors")));
}

#[test]
fn what_is_told_meanwhile() {
    let site = model();
    let test = Test::new(&site);
    test.fetch("owner/tiny@v1").unwrap();
    let steps = test.steps();
    let mut lines: Vec<&str> = steps.lines().collect();
    // How often the bytes of the weights are told depends on how fast they are.
    lines.retain(|line| {
        !line.starts_with("model.safetensors: ") || line.ends_with("4.0 MB of 4.0 MB")
    });
    insta::assert_snapshot!(lines.join("\n"), @"
    downloading owner/tiny@v1: 3 files, 4.0 MB
    config.json: 22 bytes of 22 bytes
    tokenizer.json: 2 bytes of 2 bytes
    model.safetensors: 4.0 MB of 4.0 MB
    ");
}

#[test]
fn what_is_there_is_not_downloaded_again() {
    let site = model();
    let test = Test::new(&site);
    let first = test.fetch("owner/tiny").unwrap();
    let requests = site.requests().len();
    assert_eq!(test.fetch("owner/tiny").unwrap(), first);
    assert_eq!(site.requests().len(), requests + 1, "{}", site.log());
    // What a branch stands for may change; what a commit stands for does not.
    assert_eq!(test.fetch(&format!("owner/tiny@{COMMIT}")).unwrap(), first);
    assert_eq!(site.requests().len(), requests + 1, "{}", site.log());
}

#[test]
fn a_commit_of_which_a_file_may_be_missing_is_asked_for() {
    let site = model();
    let test = Test::new(&site);
    let id = format!("owner/tiny@{COMMIT}");
    let snapshot = test.fetch(&id).unwrap();
    fs::remove_file(snapshot.folder.join("tokenizer.json")).unwrap();
    assert_eq!(test.fetch(&id).unwrap(), snapshot);
    assert!(snapshot.folder.join("tokenizer.json").exists());
    assert!(!test.path(&format!("refs/{COMMIT}")).exists());
}

fn sharded(index: &serde_json::Value) -> Site {
    Site::new()
        .small("config.json", "{}")
        .small("model.safetensors.index.json", index.to_string())
        .large("model-00001-of-00002.safetensors", "one")
        .large("model-00002-of-00002.safetensors", "two")
        .large("model-00003-of-00002.safetensors", "of nothing")
}

#[test]
fn the_shards_that_the_index_names() {
    let site = sharded(&json!({ "weight_map": {
        "a": "model-00001-of-00002.safetensors",
        "b": "model-00002-of-00002.safetensors",
        "c": "model-00001-of-00002.safetensors",
    }}));
    let test = Test::new(&site);
    let snapshot = test.fetch("owner/tiny").unwrap();
    let mut names: Vec<String> = fs::read_dir(&snapshot.folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(
        names,
        [
            "config.json",
            "model-00001-of-00002.safetensors",
            "model-00002-of-00002.safetensors",
            "model.safetensors.index.json"
        ]
    );
    let requests = site.requests().len();
    assert_eq!(
        test.fetch(&format!("owner/tiny@{COMMIT}")).unwrap(),
        snapshot
    );
    assert_eq!(site.requests().len(), requests);
}

#[test]
fn an_index_may_name_the_files_of_the_repository_alone() {
    let maps = [
        json!({}),
        json!({ "weight_map": {} }),
        json!({ "weight_map": { "a": 1 } }),
        json!({ "weight_map": { "a": "../../../.ssh/authorized_keys" } }),
        json!({ "weight_map": { "a": "/etc/passwd" } }),
        json!({ "weight_map": { "a": "model-00004-of-00002.safetensors" } }),
    ];
    let errors = maps.map(|map| Test::new(&sharded(&map)).error("owner/tiny"));
    insta::assert_snapshot!(errors.join("\n"), @"
    owner/tiny@main: [CACHE]/models--owner--tiny/snapshots/0123456789abcdef0123456789abcdef01234567/model.safetensors.index.json: line 1, column 2: missing field `weight_map`
    owner/tiny@main: [CACHE]/models--owner--tiny/snapshots/0123456789abcdef0123456789abcdef01234567/model.safetensors.index.json: key `weight_map`: expected the shard of each tensor, found no tensor
    owner/tiny@main: [CACHE]/models--owner--tiny/snapshots/0123456789abcdef0123456789abcdef01234567/model.safetensors.index.json: line 1, column 20: invalid type: integer `1`, expected a string
    owner/tiny@main: [CACHE]/models--owner--tiny/snapshots/0123456789abcdef0123456789abcdef01234567/model.safetensors.index.json: tensor `a`: expected the name of a file beside the index, found `../../../.ssh/authorized_keys`
    owner/tiny@main: [CACHE]/models--owner--tiny/snapshots/0123456789abcdef0123456789abcdef01234567/model.safetensors.index.json: tensor `a`: expected the name of a file beside the index, found `/etc/passwd`
    owner/tiny@main: model.safetensors.index.json: expected the shard `model-00004-of-00002.safetensors` in the repository, found none
    ");
}

#[test]
fn a_download_goes_on_where_it_was_left() {
    let site = model();
    let test = Test::new(&site);
    let blob = blob_of_weights();
    test.write(&format!("blobs/{blob}.incomplete"), &weights()[..3_000_000]);
    let snapshot = test.fetch("owner/tiny").unwrap();
    assert_whole(&snapshot);
    assert!(site.log().contains("bytes=3000000-"), "{}", site.log());
}

#[test]
fn a_server_that_does_not_go_on_where_it_was_left_sends_all_of_it() {
    let site = model();
    site.replace("GET", "/large/", Response::new(200).body(weights()));
    let test = Test::new(&site);
    let blob = blob_of_weights();
    test.write(&format!("blobs/{blob}.incomplete"), &weights()[..3_000_000]);
    let snapshot = test.fetch("owner/tiny").unwrap();
    assert_whole(&snapshot);
}

#[test]
fn more_than_all_of_a_file_is_no_beginning_of_it() {
    let site = model();
    let test = Test::new(&site);
    let blob = blob_of_weights();
    test.write(&format!("blobs/{blob}.incomplete"), vec![0; 5_000_000]);
    let snapshot = test.fetch("owner/tiny").unwrap();
    assert_whole(&snapshot);
}

#[test]
fn all_of_a_file_needs_no_more_than_its_name() {
    let site = model();
    let test = Test::new(&site);
    let blob = blob_of_weights();
    test.write(&format!("blobs/{blob}.incomplete"), weights());
    test.fetch("owner/tiny").unwrap();
    assert!(!site.log().contains("/large/"), "{}", site.log());
}

/// The name that the weights have in the cache.
fn blob_of_weights() -> String {
    let site = model();
    let test = Test::new(&site);
    let snapshot = test.fetch("owner/tiny").unwrap();
    let target = fs::read_link(snapshot.folder.join("model.safetensors")).unwrap();
    target.file_name().unwrap().to_str().unwrap().to_owned()
}

#[test]
fn two_that_want_the_same_wait_for_each_other() {
    let site = model();
    // Slow enough that the second comes while the first is at it.
    let slow = Response::new(200)
        .body(weights())
        .delay(Duration::from_millis(1500));
    site.replace("GET", "/large/", slow);
    let test = Test::new(&site);
    let snapshots: Vec<_> = std::thread::scope(|scope| {
        let fetch = || test.fetch("owner/tiny").unwrap();
        let threads = [scope.spawn(fetch), scope.spawn(fetch), scope.spawn(fetch)];
        threads.map(|thread| thread.join().unwrap()).into()
    });
    assert!(snapshots.iter().all(|snapshot| *snapshot == snapshots[0]));
    let weights_file = snapshots[0].folder.join("model.safetensors");
    assert_eq!(fs::read(weights_file).unwrap(), weights());
    let log = site.log();
    assert_eq!(log.matches("GET /large/").count(), 1, "{log}");
    assert!(
        test.steps()
            .contains("model.safetensors: waiting for another process that downloads it")
    );
}

#[test]
fn a_content_that_is_gone_from_the_cache_is_downloaded_again() {
    let site = model();
    let test = Test::new(&site);
    let snapshot = test.fetch("owner/tiny").unwrap();
    let file = snapshot.folder.join("model.safetensors");
    fs::remove_file(fs::canonicalize(&file).unwrap()).unwrap();
    assert!(!file.exists());
    assert_eq!(test.fetch("owner/tiny").unwrap(), snapshot);
    assert_eq!(fs::read(&file).unwrap(), weights());
}

#[test]
fn a_content_of_another_size_is_downloaded_again() {
    let site = model();
    let test = Test::new(&site);
    let snapshot = test.fetch("owner/tiny").unwrap();
    let file = snapshot.folder.join("model.safetensors");
    fs::write(fs::canonicalize(&file).unwrap(), "short").unwrap();
    test.fetch("owner/tiny").unwrap();
    assert_eq!(fs::read(&file).unwrap(), weights());
}
