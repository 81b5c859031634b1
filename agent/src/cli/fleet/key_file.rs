//! Files with a signing key: for their owner alone, and sealed with a passphrase unless there is none.

use std::num::NonZeroU32;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::pbkdf2;
use ring::rand::{SecureRandom as _, SystemRandom};
use serde::{Deserialize, Serialize};
use tidemill_bundle::{PublicKey, SEED_BYTES, SigningKey};
use zeroize::Zeroizing;

use super::super::Failure;
use super::wrong;
use tidemill_base::console;
use tidemill_base::files::{SECRET_BYTES_MAX, read_secret};
use tidemill_base::secret::{Secret, SecretFile};

/// Rounds of PBKDF2-HMAC-SHA256 for new files, as OWASP advises.
const ROUNDS: u32 = 600_000;

/// Rounds that a file may ask for.
const ROUNDS_MAX: u32 = 10_000_000;

const SALT_BYTES: usize = 16;

/// Attempts at a passphrase on a terminal.
const ATTEMPTS: usize = 3;

/// The file; shown by nothing, as it holds a secret.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    tidemill_key: u32,
    name: String,
    public: PublicKey,
    seal: Option<Seal>,
    secret: String,
}

/// Parameters of the seal.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Seal {
    kdf: String,
    rounds: u32,
    salt: String,
    cipher: String,
    nonce: String,
}

/// The source of a passphrase.
#[derive(Debug, Clone, Default, clap::Args)]
pub(in crate::cli) struct Passphrase {
    /// A file with the passphrase of the key and nothing else [default: ask on the terminal]
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
}

/// The key that a command signs with.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct KeyOption {
    /// The file of the key to sign with
    #[arg(long, value_name = "FILE", env = "TIDEMILL_KEY_FILE")]
    pub(super) key: Option<PathBuf>,
    #[command(flatten)]
    pub(super) passphrase: Passphrase,
}

impl KeyOption {
    /// Reads the key, the one of the option or another where nothing was said.
    pub(super) fn read(&self, otherwise: Option<&Path>) -> Result<SigningKey, Failure> {
        let path = self.key.as_deref().or(otherwise).ok_or_else(|| {
            wrong("no key to sign with; say --key FILE, or set TIDEMILL_KEY_FILE")
        })?;
        read(path, &self.passphrase)
    }
}

/// Makes a key and writes its file.
pub(super) fn make(
    path: &Path,
    name: &str,
    passphrase: Option<&Secret>,
) -> Result<SigningKey, Failure> {
    let mut seed = Zeroizing::new([0; SEED_BYTES]);
    let random = SystemRandom::new();
    let no_random = |_| Failure::Failed(anyhow::anyhow!("the system gives no random numbers"));
    random.fill(&mut *seed).map_err(no_random)?;
    let signing = SigningKey::from_seed(&seed);
    let public = signing.public();
    let mut file = File {
        tidemill_key: 1,
        name: name.to_owned(),
        public,
        seal: None,
        secret: String::new(),
    };
    let mut secret = Zeroizing::new(seed.to_vec());
    if let Some(passphrase) = passphrase {
        let (mut salt, mut nonce) = ([0; SALT_BYTES], [0; NONCE_LEN]);
        random.fill(&mut salt).map_err(no_random)?;
        random.fill(&mut nonce).map_err(no_random)?;
        file.seal = Some(Seal {
            kdf: KDF.to_owned(),
            rounds: ROUNDS,
            salt: STANDARD.encode(salt),
            cipher: CIPHER.to_owned(),
            nonce: STANDARD.encode(nonce),
        });
        let key = sealing_key(passphrase, ROUNDS, &salt)?;
        let nonce = Nonce::assume_unique_for_key(nonce);
        let sealed = key.seal_in_place_append_tag(nonce, Aad::from(file.bound()), &mut *secret);
        sealed.map_err(|_| Failure::Failed(anyhow::anyhow!("the key cannot be sealed")))?;
    }
    let text = Zeroizing::new(STANDARD.encode(&*secret));
    file.secret = text.to_string();
    let json = Zeroizing::new(serde_json::to_string(&file).unwrap_or_default() + "\n");
    zeroize::Zeroize::zeroize(&mut file.secret);
    super::files::write_new(path, json.as_bytes(), 0o600)?;
    Ok(signing)
}

const KDF: &str = "pbkdf2-hmac-sha256";
const CIPHER: &str = "chacha20-poly1305";

/// Reads the public half of a file.
pub(super) fn public(path: &Path) -> Result<(String, PublicKey, bool), Failure> {
    let mut file = parse(path)?;
    zeroize::Zeroize::zeroize(&mut file.secret);
    Ok((file.name, file.public, file.seal.is_some()))
}

/// Reads a key.
pub(super) fn read(path: &Path, passphrase: &Passphrase) -> Result<SigningKey, Failure> {
    let file = parse(path)?;
    let secret = Zeroizing::new(file.secret.clone());
    let bytes = STANDARD
        .decode(secret.as_bytes())
        .map_err(|_| damaged(path))?;
    let bytes = Zeroizing::new(bytes);
    let seed = match &file.seal {
        None => bytes,
        Some(seal) => unsealed(path, &file, seal, &bytes, passphrase)?,
    };
    let seed: &[u8; SEED_BYTES] = seed.as_slice().try_into().map_err(|_| damaged(path))?;
    let key = SigningKey::from_seed(seed);
    if key.public() != file.public {
        return Err(damaged(path));
    }
    Ok(key)
}

fn unsealed(
    path: &Path,
    file: &File,
    seal: &Seal,
    sealed: &[u8],
    from: &Passphrase,
) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let salt = STANDARD.decode(&seal.salt).map_err(|_| damaged(path))?;
    let nonce = STANDARD.decode(&seal.nonce).ok();
    let nonce: [u8; NONCE_LEN] = nonce
        .and_then(|nonce| nonce.try_into().ok())
        .ok_or_else(|| damaged(path))?;
    let is_known =
        seal.kdf == KDF && seal.cipher == CIPHER && (1..=ROUNDS_MAX).contains(&seal.rounds);
    if !is_known {
        return Err(damaged(path));
    }
    let attempts = if from.passphrase_file.is_none() {
        ATTEMPTS
    } else {
        1
    };
    for _ in 0..attempts {
        let passphrase = from.of_key(path)?;
        let key = sealing_key(&passphrase, seal.rounds, &salt)?;
        let mut bytes = Zeroizing::new(sealed.to_vec());
        let nonce = Nonce::assume_unique_for_key(nonce);
        if let Ok(seed) = key.open_in_place(nonce, Aad::from(file.bound()), &mut bytes) {
            return Ok(Zeroizing::new(seed.to_vec()));
        }
        console::stderr().text("this is not its passphrase\n")?;
    }
    let text = format!(
        "{}: wrong passphrase, or the file is damaged",
        path.display()
    );
    Err(Failure::Failed(anyhow::anyhow!(text)))
}

fn sealing_key(passphrase: &Secret, rounds: u32, salt: &[u8]) -> Result<LessSafeKey, Failure> {
    let mut bytes = Zeroizing::new([0; 32]);
    let rounds = NonZeroU32::new(rounds).unwrap_or(NonZeroU32::MIN);
    let passphrase = passphrase.expose().as_bytes();
    pbkdf2::derive(
        pbkdf2::PBKDF2_HMAC_SHA256,
        rounds,
        salt,
        passphrase,
        &mut *bytes,
    );
    let key = UnboundKey::new(&CHACHA20_POLY1305, &*bytes);
    let key = key.map_err(|_| Failure::Failed(anyhow::anyhow!("no key can be derived")))?;
    Ok(LessSafeKey::new(key))
}

impl File {
    /// The associated data of the seal, so that nobody exchanges name or public half.
    fn bound(&self) -> Vec<u8> {
        format!("tidemill-key-1 {} {}", self.public, self.name).into_bytes()
    }
}

fn parse(path: &Path) -> Result<File, Failure> {
    let unreadable =
        |error: std::io::Error| wrong(format!("{}: cannot be read: {error}", path.display()));
    let mode = std::fs::metadata(path).map_err(unreadable)?.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(wrong(format!(
            "{0}: others than you can get at this key (mode {mode:04o}); type: chmod 600 {0}",
            path.display()
        )));
    }
    let bytes = read_secret(path, SECRET_BYTES_MAX).map_err(unreadable)?;
    let file: File = serde_json::from_slice(&bytes).map_err(|error| {
        let line = error.line();
        wrong(format!(
            "{}:{line}: this is no key of Tidemill's",
            path.display()
        ))
    })?;
    if file.tidemill_key != 1 {
        let text = "is of another version; use the tidemill that made it";
        return Err(wrong(format!("{}: {text}", path.display())));
    }
    Ok(file)
}

fn damaged(path: &Path) -> Failure {
    wrong(format!(
        "{}: this key is damaged; take it from a backup",
        path.display()
    ))
}

impl Passphrase {
    /// The passphrase of a key that is there.
    fn of_key(&self, path: &Path) -> Result<Secret, Failure> {
        if let Some(file) = &self.passphrase_file {
            return read_passphrase(file);
        }
        if !console::stderr_is_terminal() {
            let text = format!(
                "{}: it is sealed, and there is no terminal to ask for the passphrase; say --passphrase-file FILE",
                path.display()
            );
            return Err(Failure::Failed(anyhow::anyhow!(text)));
        }
        ask(&format!("Passphrase of {}: ", path.display()))
    }

    /// The passphrase for a key that is made; none where there is nobody to ask, or nothing was said.
    pub(super) fn for_new(&self) -> Result<Option<Secret>, Failure> {
        if let Some(file) = &self.passphrase_file {
            return read_passphrase(file).map(Some);
        }
        if !console::stderr_is_terminal() {
            return Ok(None);
        }
        for _ in 0..ATTEMPTS {
            let first = ask("Passphrase (Enter for none): ")?;
            if first.expose().is_empty() {
                return Ok(None);
            }
            if ask("The same once more: ")? == first {
                return Ok(Some(first));
            }
            console::stderr().text("these are two\n")?;
        }
        Err(Failure::Failed(anyhow::anyhow!(
            "no passphrase was said twice"
        )))
    }
}

fn read_passphrase(file: &Path) -> Result<Secret, Failure> {
    let read = SecretFile::new(file.to_owned()).read();
    let secret =
        read.map_err(|error| wrong(format!("{}: cannot be read: {error}", file.display())))?;
    if secret.expose().is_empty() {
        return Err(wrong(format!(
            "{}: there is no passphrase in it",
            file.display()
        )));
    }
    Ok(secret)
}

fn ask(prompt: &str) -> Result<Secret, Failure> {
    let answer = rpassword::prompt_password(prompt);
    Ok(answer
        .map_err(|error| Failure::Failed(error.into()))?
        .into())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn passphrase_in(dir: &Path, text: &str) -> Passphrase {
        let file = dir.join(format!("{text}.pass"));
        std::fs::write(&file, text).unwrap();
        Passphrase {
            passphrase_file: Some(file),
        }
    }

    #[test]
    fn a_sealed_key_opens_with_its_passphrase_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ops.key");
        let good = passphrase_in(dir.path(), "good");
        let made = make(&path, "ops", good.for_new().unwrap().as_ref()).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
        assert_eq!(read(&path, &good).unwrap().public(), made.public());
        let bad = passphrase_in(dir.path(), "bad");
        assert!(matches!(read(&path, &bad), Err(Failure::Failed(_))));
        let text = std::fs::read_to_string(&path).unwrap();
        let other = text.replacen("\"ops\"", "\"oops\"", 1);
        std::fs::write(&path, other).unwrap();
        assert!(
            matches!(read(&path, &good), Err(Failure::Failed(_))),
            "the name is bound"
        );
        assert!(
            matches!(make(&path, "ops", None), Err(Failure::Wrong(_))),
            "never written over"
        );
    }

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ops.key");
        make(&path, "ops", None).unwrap();
        assert!(read(&path, &Passphrase::default()).is_ok());
        for mode in [0o640, 0o604, 0o660] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            assert!(matches!(
                read(&path, &Passphrase::default()),
                Err(Failure::Wrong(_))
            ));
        }
    }
}
