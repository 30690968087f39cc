//! What the Hub does not give, and what is no model.

use crate::support::server::Response;
use crate::support::site::Site;
use crate::support::{Test, model};

#[test]
fn a_model_that_not_everybody_may_have() {
    let site = model().for_holders_of("hf_right");
    let lines =
        [Test::new(&site), Test::new(&site).token("hf_wrong")].map(|test| test.error("owner/tiny"));
    insta::assert_snapshot!(lines.join("\n"), @"
    owner/tiny@main: Access to model owner/tiny is restricted and you are not in the authorized list; ask for access on the model's page, and name a token in HF_TOKEN
    owner/tiny@main: Access to model owner/tiny is restricted and you are not in the authorized list; ask for access on the model's page, or use a token that may read it
    ");
    // Nothing large was asked for.
    assert!(!site.log().contains("safetensors"), "{}", site.log());
}

#[test]
fn what_the_hub_does_not_have() {
    let coded = |status, code: &str| Response::new(status).header("X-Error-Code", code);
    let lines = [
        coded(404, "RepoNotFound").header("X-Error-Message", "Repository not found"),
        coded(404, "RevisionNotFound").header("X-Error-Message", "Invalid rev id: main"),
        // As strangers get it.
        Response::new(401).header("X-Error-Message", "Invalid username or password."),
        Response::new(404),
        Response::new(403).body("{\"error\": \"Access to this\\n resource is disabled.\"}"),
        Response::new(400).body("<html>"),
    ]
    .map(|response| {
        let site = model();
        site.replace("GET", "/api/", response);
        Test::new(&site).error("owner/tiny")
    });
    insta::assert_snapshot!(lines.join("\n"), @"
    owner/tiny@main: found no such repository at [HUB]; if it is private, name a token in HF_TOKEN
    owner/tiny@main: expected a branch, tag, commit or refs/pr/NUMBER of owner/tiny, found no `main`
    owner/tiny@main: found no such repository at [HUB]; if it is private, name a token in HF_TOKEN
    owner/tiny@main: found no such repository at [HUB]; if it is private, name a token in HF_TOKEN
    owner/tiny@main: [HUB]/api/models/owner/tiny/revision/main?blobs=true: the Hub answered 403: Access to this resource is disabled
    owner/tiny@main: [HUB]/api/models/owner/tiny/revision/main?blobs=true: the Hub answered 400
    ");
}

#[test]
fn a_private_repository_and_a_token_that_may_not_read_it() {
    let site = model();
    site.replace(
        "GET",
        "/api/",
        Response::new(404).header("X-Error-Code", "RepoNotFound"),
    );
    insta::assert_snapshot!(Test::new(&site).token("hf_x").error("owner/tiny"), @"owner/tiny@main: found no such repository at [HUB]; if it is private, the token has to be of somebody who may read it");
}

#[test]
fn a_token_that_is_none_is_not_shown() {
    let site = model();
    let unknown = Response::new(401).header(
        "X-Error-Message",
        "Invalid credentials in Authorization header",
    );
    site.replace("GET", "/api/", unknown);
    let line = Test::new(&site).token("hf_secret").error("owner/tiny");
    insta::assert_snapshot!(line, @"owner/tiny@main: the Hub does not accept the token (HF_TOKEN, or the file in HF_TOKEN_PATH): Invalid credentials in Authorization header");
}

#[test]
fn a_file_that_is_listed_and_not_there() {
    let site = model();
    site.replace(
        "HEAD",
        "tokenizer.json",
        Response::new(404).header("X-Error-Code", "EntryNotFound"),
    );
    insta::assert_snapshot!(Test::new(&site).error("owner/tiny"), @"owner/tiny@main: tokenizer.json: the Hub lists this file and does not have it");
}

#[test]
fn answers_that_are_none() {
    let lines = [
        "",
        "<html>",
        "{\"siblings\": []}",
        "{\"sha\": \"main\", \"siblings\": []}",
        "{\"sha\": \"../../../0123456789abcdef0123456789abcdef\", \"siblings\": []}",
    ]
    .map(|body| {
        let site = model();
        site.replace("GET", "/api/", Response::new(200).body(body));
        Test::new(&site).error("owner/tiny")
    });
    insta::assert_snapshot!(lines.join("\n"), @r#"
    owner/tiny@main: [HUB]/api/models/owner/tiny/revision/main?blobs=true: expected the description of a model, found EOF while parsing a value at line 1 column 0
    owner/tiny@main: [HUB]/api/models/owner/tiny/revision/main?blobs=true: expected the description of a model, found expected value at line 1 column 1
    owner/tiny@main: [HUB]/api/models/owner/tiny/revision/main?blobs=true: expected the description of a model, found missing field `sha` at line 1 column 16
    owner/tiny@main: [HUB]/api/models/owner/tiny/revision/main?blobs=true: expected the full hash of a commit in `sha`, found "main"
    owner/tiny@main: [HUB]/api/models/owner/tiny/revision/main?blobs=true: expected the full hash of a commit in `sha`, found "../../../0123456789abcdef0123456789abcdef"
    "#);
}

#[test]
fn heads_that_say_too_little() {
    let lines = [
        Response::new(200).body("22 bytes, as announced"),
        Response::new(200).header("ETag", "\"../../x\""),
        Response::new(200)
            .header("ETag", "\"abc\"")
            .body("too short"),
    ]
    .map(|response| {
        let site = model();
        site.replace("HEAD", "config.json", response);
        Test::new(&site).error("owner/tiny")
    });
    insta::assert_snapshot!(lines.join("\n"), @r#"
    owner/tiny@main: [HUB]/owner/tiny/resolve/0123456789abcdef0123456789abcdef01234567/config.json: expected a header ETag that can name a file, found none
    owner/tiny@main: [HUB]/owner/tiny/resolve/0123456789abcdef0123456789abcdef01234567/config.json: expected a header ETag that can name a file, found "\"../../x\""
    owner/tiny@main: [HUB]/owner/tiny/resolve/0123456789abcdef0123456789abcdef01234567/config.json: expected the size that the list of files has, found 9 bytes where it says 22
    "#);
}

#[test]
fn repositories_without_a_model_that_is_read() {
    let repositories: [&[&str]; 11] = [
        &["config.json", "pytorch_model.bin", "training_args.bin"],
        &["config.json", "model.Q4_K_M.gguf"],
        &["model.Q4_K_M.gguf"],
        &["config.json", "tf_model.h5"],
        &["config.json", "flax_model.msgpack"],
        &["adapter_config.json", "adapter_model.safetensors"],
        &["config.json", "model.fp16.safetensors"],
        &[
            "model_index.json",
            "unet/diffusion_pytorch_model.safetensors",
        ],
        &["model.safetensors"],
        &[
            "config.json",
            "training_args.bin",
            "a",
            "b",
            "c",
            "d",
            "e",
            "f",
        ],
        &[],
    ];
    let lines = repositories.map(|files| {
        let site = files
            .iter()
            .fold(Site::new(), |site, file| site.large(file, "{}"));
        let line = Test::new(&site).error("owner/tiny");
        assert_eq!(site.requests().len(), 1, "{}", site.log());
        line
    });
    insta::assert_snapshot!(lines.join("\n"));
}
