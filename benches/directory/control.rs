//! The control: actix answering recorded bytes from memory. What it does in a second is what any server of this kind
//! could do at most, so a ratio to it says more than a rate on some machine.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use actix_web::http::StatusCode;
use actix_web::web::{self, Bytes, Data, Payload};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer};
use anyhow::{Context, Result};
use futures_util::StreamExt;

use crate::client::Reply;

/// The hidden argument under which the benchmark starts itself as the control.
pub const ARGUMENT: &str = "control";

/// Headers that belong to a connection or a moment; actix sets its own.
const NOT_REPEATED: [&str; 5] = ["connection", "content-length", "date", "keep-alive", "transfer-encoding"];

struct Recorded {
    status: StatusCode,
    headers: Vec<(String, String)>,
    body: Bytes,
}

/// Keeps an answer for the control, under the operation's name: the head as it came, then the body.
pub fn record(directory: &Path, operation: &str, reply: &Reply) -> Result<()> {
    let file = directory.join(operation);
    fs::write(&file, [reply.head.as_bytes(), &reply.body].concat()).with_context(|| format!("{}", file.display()))
}

/// Serves the recorded answers of a directory: `/NAME/anything` gets the answer recorded as NAME.
pub fn serve(directory: &Path) -> Result<()> {
    let mut answers = HashMap::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let recorded = parse(&fs::read(entry.path())?).with_context(|| format!("{}", entry.path().display()))?;
        answers.insert(entry.file_name().to_string_lossy().into_owned(), recorded);
    }
    let answers = Data::new(answers);
    actix_web::rt::System::new().block_on(async move {
        let app = move || App::new().app_data(answers.clone()).default_service(web::to(answer));
        let server = HttpServer::new(app).bind(("127.0.0.1", 0))?;
        let address = server.addrs().first().copied().context("no address")?;
        println!("http://{address}");
        server.run().await?;
        Ok(())
    })
}

async fn answer(answers: Data<HashMap<String, Recorded>>, request: HttpRequest, mut body: Payload) -> HttpResponse {
    // What was sent is read to its end, as a server that stores it must.
    while let Some(Ok(_)) = body.next().await {}
    let name = request.path().split('/').nth(1).unwrap_or_default();
    let Some(recorded) = answers.get(name) else { return HttpResponse::NotFound().finish() };
    let mut response = HttpResponse::build(recorded.status);
    for (name, value) in &recorded.headers {
        response.append_header((name.as_str(), value.as_str()));
    }
    response.body(recorded.body.clone())
}

fn parse(recorded: &[u8]) -> Result<Recorded> {
    let end = recorded.windows(4).position(|four| four == b"\r\n\r\n").context("no head")?;
    let (head, body) = recorded.split_at(end + 4);
    let mut lines = std::str::from_utf8(head)?.lines();
    let status = lines.next().and_then(|line| line.get(9..12)).context("no status")?.parse()?;
    let headers = lines.filter_map(|line| line.split_once(':'));
    let repeated = headers.filter(|(name, _)| !NOT_REPEATED.iter().any(|it| it.eq_ignore_ascii_case(name)));
    Ok(Recorded {
        status: StatusCode::from_u16(status)?,
        headers: repeated.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect(),
        body: Bytes::copy_from_slice(body),
    })
}
