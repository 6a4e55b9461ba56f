//! Session tickets that every gateway of a hub can open: keys derive from a secret of the cluster and a time slot.

use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    hkdf,
    rand::{SecureRandom, SystemRandom},
};
use rustls::server::ProducesTickets;

/// A key is used for one slot and accepted for the next one too.
const SLOT_SECONDS: u64 = 6 * 3600;

/// Secret from which all ticket keys derive; the same on every gateway.
#[derive(Clone)]
pub struct TicketSecret([u8; 32]);

impl TicketSecret {
    /// Of 32 random bytes.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl std::fmt::Debug for TicketSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TicketSecret(..)")
    }
}

#[derive(Debug)]
pub(super) struct Tickets(pub TicketSecret);

impl Tickets {
    fn key(&self, slot: u64) -> Option<LessSafeKey> {
        let extracted = hkdf::Salt::new(hkdf::HKDF_SHA256, b"ironhub session tickets").extract(&self.0.0);
        let slot = slot.to_be_bytes();
        let mut key = [0; 32];
        extracted.expand(&[&slot], hkdf::HKDF_SHA256).ok()?.fill(&mut key).ok()?;
        Some(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &key).ok()?))
    }

    fn open(&self, slot: u64, nonce: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        let mut plain = sealed.to_vec();
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let length = self.key(slot)?.open_in_place(nonce, Aad::empty(), &mut plain).ok()?.len();
        plain.truncate(length);
        Some(plain)
    }
}

fn slot_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() / SLOT_SECONDS
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        u32::try_from(SLOT_SECONDS).unwrap_or(u32::MAX)
    }

    /// Nonce, then the sealed state.
    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).ok()?;
        let mut sealed = plain.to_vec();
        let unique = Nonce::assume_unique_for_key(nonce);
        self.key(slot_now())?.seal_in_place_append_tag(unique, Aad::empty(), &mut sealed).ok()?;
        Some([&nonce[..], &sealed].concat())
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let (nonce, sealed) = ticket.split_at_checked(NONCE_LEN)?;
        let slot = slot_now();
        self.open(slot, nonce, sealed).or_else(|| self.open(slot.checked_sub(1)?, nonce, sealed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_gateway_with_the_same_secret_opens_a_ticket_and_no_one_else() {
        let one = Tickets(TicketSecret::new([1; 32]));
        let same = Tickets(TicketSecret::new([1; 32]));
        let other = Tickets(TicketSecret::new([2; 32]));
        let ticket = one.encrypt(b"state").unwrap_or_default();
        assert_eq!(same.decrypt(&ticket).as_deref(), Some(&b"state"[..]));
        assert_eq!(other.decrypt(&ticket), None);
        assert_eq!(one.decrypt(b"short"), None);
    }
}
