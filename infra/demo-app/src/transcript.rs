//! Transcripts: WebVTT, as Zoom writes it.

/// A caption with its time in seconds.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Cue {
    pub(crate) start: f64,
    pub(crate) end: f64,
    pub(crate) speaker: Option<String>,
    pub(crate) text: String,
}

/// The cues of a WebVTT file (<https://www.w3.org/TR/webvtt1/>); blocks that are none are ignored.
pub(crate) fn parse(vtt: &str) -> Vec<Cue> {
    vtt.replace("\r\n", "\n").replace('\r', "\n").split("\n\n").filter_map(cue).collect()
}

fn cue(block: &str) -> Option<Cue> {
    let mut lines = block.lines().skip_while(|line| !line.contains("-->"));
    let (start, rest) = lines.next()?.split_once("-->")?;
    // Settings such as `align:start` may follow the end.
    let (start, end) = (seconds(start.trim())?, seconds(rest.split_whitespace().next()?)?);
    let payload: Vec<_> = lines.map(str::trim).collect();
    let payload = payload.join(" ");
    let voice = payload.strip_prefix("<v ").and_then(|rest| rest.split_once('>'));
    let (speaker, text) = match voice {
        Some((speaker, text)) => (Some(speaker), text),
        // Zoom writes `Ada Berg: text`. A longer beginning is a sentence with a colon.
        None => match payload.split_once(": ") {
            Some((speaker, text)) if speaker.len() <= 64 => (Some(speaker), text),
            _ => (None, payload.as_str()),
        },
    };
    let (speaker, text) = (speaker.map(plain), plain(text));
    (end > start && !text.is_empty()).then_some(Cue { start, end, speaker, text })
}

/// Seconds of `hh:mm:ss.ttt`, whose hours are optional.
fn seconds(text: &str) -> Option<f64> {
    let mut total = 0.0;
    for part in text.split(':') {
        let is_number = part.starts_with(|first: char| first.is_ascii_digit());
        total = total * 60.0 + part.parse::<f64>().ok().filter(|_| is_number)?;
    }
    Some(total)
}

/// The text without tags and with its escapes resolved.
fn plain(text: &str) -> String {
    let mut parts = text.split('<');
    let first = parts.next().unwrap_or_default().to_owned();
    let text = parts.fold(first, |text, part| text + part.split_once('>').map_or("", |(_, t)| t));
    let text = text.replace("&lt;", "<").replace("&gt;", ">").replace("&nbsp;", " ");
    text.replace("&amp;", "&").trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cues_are_parsed_and_the_rest_is_ignored() {
        let vtt = "\u{feff}WEBVTT - Weekly\r\n\r\nNOTE made by hand\r\n\r\n\
            1\r\n00:00:16.480 --> 00:00:18.870 align:start\r\nAda Berg: Good\r\nmorning &lt;all&gt;.\r\n\r\n\
            01:02.5 --> 100:00:00.0\n<v Ben Cole>A <i>short</i> one</v>\n\n\
            00:05.000 --> 00:04.000\nends before it starts\n\nNaN --> inf\nno time\n\n00:06.000 --> 00:07.000\n";
        let cues = parse(vtt);
        let cues = cues.iter().map(|cue| (cue.start, cue.end, cue.speaker.as_deref(), &*cue.text));
        let expected = [
            (16.48, 18.87, Some("Ada Berg"), "Good morning <all>."),
            (62.5, 360_000.0, Some("Ben Cole"), "A short one"),
        ];
        assert_eq!(cues.collect::<Vec<_>>(), expected);
        assert_eq!(parse("WEBVTT\n\n00:01.000 --> 00:02.000\nNo speaker")[0].speaker, None);
        assert_eq!(parse("not a transcript"), []);
    }
}
