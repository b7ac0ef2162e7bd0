//! The URLs of `Bundle.link`: what was asked, as this server understood it (R4 search.html#self).

/// Parameters that shape a response, whatever is asked; they do not belong to the question.
const SHAPE: &[&str] = &["_format", "_pretty"];

/// Whether a parameter shapes the response.
pub fn is_shape(name: &str) -> bool {
    SHAPE.contains(&name)
}

/// The part of a request's parameters that shapes the response.
pub fn shape(pairs: &[(String, String)]) -> Vec<(String, String)> {
    pairs.iter().filter(|(name, value)| is_shape(name) && !value.is_empty()).cloned().collect()
}

/// The pages of one answer.
#[derive(Clone, Copy, Debug)]
pub struct Pages<'a> {
    /// The base as the client knows it.
    pub base: &'a str,
    /// Below the base; may be empty.
    pub path: &'a str,
    /// The parameters that were used, in order.
    pub used: &'a [(String, String)],
    pub shape: &'a [(String, String)],
}

impl Pages<'_> {
    /// What a cursor belongs to: the same question.
    pub fn context(&self) -> String {
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(self.used).finish();
        format!("{}?{query}", self.path)
    }

    /// The absolute URL of the first page, or of the page after a cursor.
    pub fn url(&self, cursor: Option<&str>) -> String {
        let cursor = cursor.map(|cursor| ("_cursor", cursor));
        let pairs = self.used.iter().chain(self.shape).map(|(name, value)| (name.as_str(), value.as_str()));
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs.chain(cursor)).finish();
        let place = if self.path.is_empty() { self.base.to_owned() } else { format!("{}/{}", self.base, self.path) };
        if query.is_empty() { place } else { format!("{place}?{query}") }
    }
}
