//! What stands in front of the product: TLS, HTTP/2, compression, pages of other origins, sockets
//! in the file system, proxies.

mod cors;
mod floods;
mod gzip;
mod http2;
mod proxied;
mod tls;
mod tls_command_line;
mod unix;
