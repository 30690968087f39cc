//! What the Hub means when it refuses.

use ureq::Body;
use ureq::http::{Response, StatusCode};

use super::{Client, MAX_TEXT, header};
use crate::address::Address;
use crate::error::HubError;
use crate::retries::Failure;

const MAX_MESSAGE: usize = 300;

impl Client {
    /// What the Hub means by a status that is no success.
    pub(super) fn refusal(&self, address: Address<'_>, response: &mut Response<Body>) -> Failure {
        let id = address.id.clone();
        let code = header(response, "x-error-code").map(str::to_owned);
        let message = self.message(response);
        let status = response.status();
        if matches!(status.as_u16(), 408 | 429 | 500 | 502 | 503 | 504) {
            let said = message.map_or_else(String::new, |message| format!(" ({message})"));
            return self.interrupted(
                address,
                format!("the server answered {}{said}", status.as_u16()),
            );
        }
        let is_unknown_token = message
            .as_deref()
            .is_some_and(|message| message.starts_with("Invalid credentials"));
        Failure::Final(match (code.as_deref(), status, address.file) {
            (Some("GatedRepo"), ..) => HubError::Gated {
                remedy: self.gate_remedy(),
                id,
                message,
            },
            (Some("RevisionNotFound"), ..) => HubError::RevisionNotFound { id },
            (_, StatusCode::UNAUTHORIZED, _) if is_unknown_token => {
                HubError::TokenRefused { id, message }
            }
            (Some("EntryNotFound"), _, Some(file)) | (None, StatusCode::NOT_FOUND, Some(file)) => {
                HubError::FileNotFound {
                    id,
                    file: file.to_owned(),
                }
            }
            // The Hub does not tell strangers what it has, so 401 is what they get for what is not there as well.
            (Some("RepoNotFound"), ..)
            | (None, StatusCode::NOT_FOUND | StatusCode::UNAUTHORIZED, _) => {
                HubError::RepositoryNotFound {
                    id,
                    endpoint: self.endpoint.clone(),
                    remedy: self.absence_remedy(),
                }
            }
            _ => HubError::Status {
                id,
                url: address.url.to_owned(),
                status: status.as_u16(),
                message,
            },
        })
    }

    fn gate_remedy(&self) -> &'static str {
        match self.token {
            Some(_) => "ask for access on the model's page, or use a token that may read it",
            None => "ask for access on the model's page, and name a token in HF_TOKEN",
        }
    }

    fn absence_remedy(&self) -> &'static str {
        match self.token {
            Some(_) => "if it is private, the token has to be of somebody who may read it",
            None => "if it is private, name a token in HF_TOKEN",
        }
    }

    /// What the Hub says for people, on one line.
    fn message(&self, response: &mut Response<Body>) -> Option<String> {
        let text = match header(response, "x-error-message") {
            Some(text) => text.to_owned(),
            None => {
                let body = response.body_mut().with_config().limit(MAX_TEXT);
                let value: serde_json::Value =
                    serde_json::from_str(&body.read_to_string().ok()?).ok()?;
                value.get("error")?.as_str()?.to_owned()
            }
        };
        let words: Vec<&str> = text.trim_end_matches('.').split_whitespace().collect();
        let line: String = words.join(" ").chars().take(MAX_MESSAGE).collect();
        (!line.is_empty()).then_some(line)
    }
}
