//! The other side of requests over HTTP.

use super::{CURRENT, Host};
use crate::http::{Error, Request, Response};

impl Host {
    /// Answers requests to this URL. Those to another one are refused.
    #[must_use]
    pub fn with_answer(mut self, url: impl Into<String>, answer: Response) -> Self {
        self.answers.insert(url.into(), Ok(answer));
        self
    }

    /// Has requests to this URL fail.
    #[must_use]
    pub fn with_failing(mut self, url: impl Into<String>, error: Error) -> Self {
        self.answers.insert(url.into(), Err(error));
        self
    }

    /// The requests that hooks sent, in order.
    pub fn requests(&self) -> Vec<Request> {
        self.requests.borrow().clone()
    }
}

pub(crate) fn send(request: &Request) -> Result<Response, Error> {
    let Some(host) = CURRENT.with_borrow(Clone::clone) else {
        let why = "there is no host; call this inside testing::Host::run";
        return Err(Error::Other(why.into()));
    };
    host.requests.borrow_mut().push(request.clone());
    host.answers.get(&request.url).cloned().unwrap_or_else(|| {
        let why = format!("the fake host has no answer of {}; see with_answer", request.url);
        Err(Error::Refused(why))
    })
}
