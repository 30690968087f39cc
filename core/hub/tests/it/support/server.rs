//! A small HTTP server on the loopback interface, for one test.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// What a client asked for.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// With what stands behind the question mark.
    pub(crate) path: String,
    /// With names in lower case.
    pub(crate) headers: BTreeMap<String, String>,
}

/// What it gets.
#[derive(Clone, Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// How many bytes of the body are sent before the connection is closed.
    pub(crate) cut: Option<usize>,
    /// Silence before the answer.
    pub(crate) delay: Duration,
}

impl Response {
    pub(crate) fn new(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Vec::new(),
            cut: None,
            delay: Duration::ZERO,
        }
    }

    pub(crate) fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    pub(crate) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    pub(crate) fn cut(mut self, bytes: usize) -> Self {
        self.cut = Some(bytes);
        self
    }

    pub(crate) fn delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }
}

type Answer = dyn Fn(&Request) -> Response + Send + Sync;

/// Answers until it is dropped.
pub(crate) struct Server {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
    stopped: Arc<AtomicBool>,
}

impl Server {
    pub(crate) fn new(answer: impl Fn(&Request) -> Response + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Self {
            address: listener.local_addr().unwrap(),
            requests: Arc::default(),
            stopped: Arc::default(),
        };
        let (requests, stopped) = (server.requests.clone(), server.stopped.clone());
        let answer: Arc<Answer> = Arc::new(answer);
        thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let (requests, answer) = (requests.clone(), answer.clone());
                // A client that goes away is no failure of the server's.
                thread::spawn(move || {
                    stream
                        .ok()
                        .and_then(|stream| serve(&stream, &requests, &*answer))
                });
            }
        });
        server
    }

    /// Its address as `host` says it.
    pub(crate) fn url(&self, host: &str) -> String {
        format!("http://{host}:{}", self.address.port())
    }

    /// What it was asked for, in order.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::SeqCst);
        // So that it looks up.
        let _ = TcpStream::connect(self.address);
    }
}

/// One request and its answer.
fn serve(stream: &TcpStream, requests: &Mutex<Vec<Request>>, answer: &Answer) -> Option<()> {
    let request = read(stream)?;
    let is_head = request.method == "HEAD";
    requests.lock().unwrap().push(request.clone());
    let response = answer(&request);
    thread::sleep(response.delay);
    write(stream, &response, is_head)
}

fn read(stream: &TcpStream) -> Option<Request> {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next()?.ok()?;
    let mut words = first.split(' ');
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = BTreeMap::new();
    for line in lines {
        let line = line.ok()?;
        let Some((name, value)) = line.split_once(':') else {
            break;
        };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    Some(Request {
        method,
        path,
        headers,
    })
}

fn write(mut stream: &TcpStream, response: &Response, is_head: bool) -> Option<()> {
    let mut head = format!("HTTP/1.1 {} -\r\nConnection: close\r\n", response.status);
    for (name, value) in &response.headers {
        head += &format!("{name}: {value}\r\n");
    }
    let is_length = |(name, _): &(String, String)| name == "Content-Length";
    if !response.headers.iter().any(is_length) {
        head += &format!("Content-Length: {}\r\n", response.body.len());
    }
    let sent = response.cut.unwrap_or(response.body.len());
    let body = if is_head { &[] } else { &response.body[..sent] };
    stream.write_all(format!("{head}\r\n").as_bytes()).ok()?;
    stream.write_all(body).ok()
}
