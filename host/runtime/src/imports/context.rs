//! `context`: who asks, and for what. None of it needs storage, so that a call costs no more than
//! copying the answer into the guest.

use kenning_bindings::context::{CallerInfo, Host, NoteRefused, RequestInfo, Verb as Word};
use wasmtime::Result;

use super::answer;
use crate::request_context::Verb;
use crate::state::State;
use crate::wit::Query;

impl Host for State {
    async fn caller(&mut self) -> Result<CallerInfo> {
        answer!(self, "context.caller", () => {
            let caller = &self.request.caller;
            CallerInfo {
                key_id: caller.key_id.as_deref().map(str::to_owned),
                attributes: caller.attributes.as_deref().unwrap_or("{}").to_owned(),
                subject: caller.subject.as_deref().map(str::to_owned),
                scopes: caller.scopes.iter().map(|scope| (*scope).to_owned()).collect(),
            }
        })
    }

    async fn request(&mut self) -> Result<RequestInfo> {
        answer!(self, "context.request", () => RequestInfo {
            verb: self.request.verb.into(),
            id: self.request.id.as_deref().map(str::to_owned),
            is_replay: self.captured.is_some(),
        })
    }

    async fn asked_query(&mut self) -> Result<Option<Query>> {
        answer!(self, "context.asked-query", () => self.request.query.as_deref().cloned())
    }

    async fn options(&mut self) -> Result<Option<String>> {
        answer!(self, "context.options", () => {
            let options = self.extension.as_deref();
            options.and_then(|name| self.request.options.get(name)).cloned()
        })
    }

    async fn note(&mut self, name: String) -> Result<Option<String>> {
        answer!(self, "context.note", (name) => self.request.notes.get(&name))
    }

    async fn set_note(&mut self, name: String, value: String) -> Result<Result<(), NoteRefused>> {
        answer!(self, "context.set-note", (name, value) => {
            let set = self.request.notes.set(name, value);
            set.map_err(|(allowed, used)| NoteRefused { allowed, used })
        })
    }
}

impl From<Verb> for Word {
    fn from(verb: Verb) -> Self {
        match verb {
            Verb::Store => Self::Store,
            Verb::Import => Self::Import,
            Verb::Update => Self::Update,
            Verb::Delete => Self::Delete,
            Verb::Get => Self::Get,
            Verb::List => Self::List,
            Verb::Search => Self::Search,
            Verb::Export => Self::Export,
            Verb::Follow => Self::Follow,
            Verb::Maintain => Self::Maintain,
        }
    }
}
