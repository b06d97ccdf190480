//! The embedder is away, slow or wrong: what is stored stays stored and can be found by
//! its words, whoever searches is told what is missing, and vectors follow by themselves
//! when the embedder is back. The embedder is a far one, faked on loopback.

mod away;
mod circuit;
mod lanes;
mod model;
mod poison;
mod protocols;
mod slow;
mod support;
mod wrong;
