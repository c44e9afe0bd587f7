//! Random names and key material, from the operating system.

pub(crate) fn bytes<const N: usize>() -> Result<[u8; N], getrandom::Error> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)?;
    Ok(bytes)
}

/// A version 4 UUID: AWS names keys and secret versions so.
pub(crate) fn uuid() -> Result<String, getrandom::Error> {
    let mut raw = bytes::<16>()?;
    raw[6] = raw[6] & 0x0f | 0x40;
    raw[8] = raw[8] & 0x3f | 0x80;
    let hex = hex::encode(raw);
    Ok([
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..],
    ]
    .join("-"))
}

#[cfg(test)]
mod tests {
    #[test]
    fn uuid_has_the_form_of_version_4() {
        let uuid = super::uuid().unwrap();
        assert_eq!(uuid.len(), 36);
        assert_eq!(uuid.as_bytes()[14], b'4');
        assert!(b"89ab".contains(&uuid.as_bytes()[19]));
    }
}
