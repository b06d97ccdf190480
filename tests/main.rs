//! Every test that drives the product from outside, through a real server in a
//! process of its own. This is the table of contents.

mod authoring;
mod browser;
mod changes;
mod cli;
mod clients;
mod components;
mod crash;
mod degradation;
mod deploy;
mod durability;
mod examples;
mod extensions;
mod faults;
mod flat_layout;
mod hosts;
mod http;
mod layout;
mod limits;
mod logs;
mod long_facts;
mod mcp;
mod openapi;
mod overload;
mod proxies;
mod retrieval;
mod samples;
mod sandbox;
mod seed;
mod settings;
mod storage;
mod swap;
mod tenants;
mod tidy;
mod wit;
mod words;
