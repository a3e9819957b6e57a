//! Every setting there is: its key in the file, its environment variable, its flag, its default.
//!
//! This table is the only list. The flags, the check for unknown names and the effective
//! settings that `check-config` prints are made from it; a test holds the manual to it.

/// One setting, under its three names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The key in the file, with the names of its tables: `grace.client_seconds`.
    pub key: &'static str,
    /// The environment variable.
    pub env: &'static str,
    /// The flag, without its dashes.
    pub flag: &'static str,
    /// What the value is, in one word.
    pub value: &'static str,
    /// What holds when nobody says anything, in words where it depends.
    pub default: &'static str,
    /// What it is for, in one sentence.
    pub help: &'static str,
}

/// What the value of an on/off setting is called.
pub(super) const BOOL: &str = "BOOL";

/// Where setup puts downloads. It is no setting, for the setup scripts read it as well.
pub(super) const CACHE_ENV: &str = "CALLBRIDGE_CACHE";

macro_rules! settings {
    ($(#[doc = $help:literal] $key:literal $env:literal $flag:literal $value:ident
       = $default:literal;)+) => {
        /// All settings, in the order of the manual.
        pub const SETTINGS: &[Setting] = &[$(Setting {
            key: $key,
            env: $env,
            flag: $flag,
            value: stringify!($value),
            default: $default,
            help: $help,
        }),+];
    };
}

settings! {
    /// Address and TCP port of REST, Socket.IO, rooms and the console.
    "listen" "CALLBRIDGE_LISTEN" "listen" ADDRESS
        = "127.0.0.1:8080";
    /// Address and UDP port of WebRTC media, several with commas; one port carries all calls.
    "media_listen" "CALLBRIDGE_MEDIA_LISTEN" "media-listen" ADDRESSES
        = "listen's address, with port 0 on loopback and listen's port elsewhere";
    /// Address and TCP port of media for callers without UDP, several with commas, or `off`.
    "media_tcp_listen" "CALLBRIDGE_MEDIA_TCP_LISTEN" "media-tcp-listen" ADDRESSES
        = "media_listen's addresses and numbers, but for that of listen";
    /// Address that ICE candidates carry when a 1:1 NAT stands before this machine.
    "public_ip" "CALLBRIDGE_PUBLIC_IP" "public-ip" IP
        = "none";
    /// File with the certificate (PEM) by which `listen` speaks HTTPS, and its chain behind it.
    "tls.certificate" "CALLBRIDGE_TLS_CERTIFICATE" "tls-certificate" PATH
        = "none: `listen` speaks HTTP";
    /// File with the certificate's private key (PEM).
    "tls.key" "CALLBRIDGE_TLS_KEY" "tls-key" PATH
        = "none";
    /// Networks (CIDR, with commas) whose `Forwarded` and `X-Forwarded-…` headers are believed.
    "http.trusted_proxies" "CALLBRIDGE_HTTP_TRUSTED_PROXIES" "http-trusted-proxies" NETWORKS
        = "none: these headers are not read";
    /// STUN servers that callers are told of, several with commas: `stun:HOST:PORT`.
    "stun.urls" "CALLBRIDGE_STUN_URLS" "stun-urls" URLS
        = "none";
    /// TURN servers that callers are told of, several with commas: `turn:HOST:PORT`, `turns:…`.
    "turn.urls" "CALLBRIDGE_TURN_URLS" "turn-urls" URLS
        = "none";
    /// The secret shared with the TURN servers (coturn's `static-auth-secret`).
    "turn.secret" "CALLBRIDGE_TURN_SECRET" "turn-secret" SECRET
        = "none";
    /// Seconds for which a caller may ask the TURN servers for a relay.
    "turn.ttl_seconds" "CALLBRIDGE_TURN_TTL_SECONDS" "turn-ttl-seconds" SECONDS
        = "3600";
    /// Where agents, keys and calls are kept: `sqlite:PATH`, `sqlite::memory:` or `postgres://…`.
    "database" "CALLBRIDGE_DATABASE" "database" URL
        = "sqlite:callbridge.db";
    /// An `ak_` key made at start for the user `bootstrap`; as a flag, others can see it.
    "bootstrap_key" "CALLBRIDGE_BOOTSTRAP_KEY" "bootstrap-key" KEY
        = "none";
    /// Bearer token that manages users and keys; as a flag, others can see it.
    "admin_token" "CALLBRIDGE_ADMIN_TOKEN" "admin-token" TOKEN
        = "none: those calls are refused";
    /// The model profile of agents that name none.
    "model" "CALLBRIDGE_MODEL" "model" NAME
        = "openai if it has a key or an address, else local";
    /// WebSocket address of the OpenAI Realtime API, or of any server that speaks it.
    "models.openai.url" "CALLBRIDGE_OPENAI_URL" "openai-url" URL
        = "wss://api.openai.com/v1/realtime";
    /// The model asked for there.
    "models.openai.model" "CALLBRIDGE_OPENAI_MODEL" "openai-model" NAME
        = "gpt-realtime-2.1";
    /// Folder of the local speech model, which `make deps` fills.
    "local.dir" "CALLBRIDGE_LOCAL_DIR" "local-dir" PATH
        = "models/moonshine-tiny-en-0.0.73 in CALLBRIDGE_CACHE, or in ~/.cache/callbridge";
    /// The flite voice of the local model: rms, slt, awb or kal16.
    "local.voice" "CALLBRIDGE_LOCAL_VOICE" "local-voice" NAME
        = "rms";
    /// File of the detector `silero`, which `make deps-silero` brings.
    "hearing.silero" "CALLBRIDGE_HEARING_SILERO" "hearing-silero" PATH
        = "models/silero-vad-6.2.3/silero_vad_openvino_16k.onnx in the same cache, if it is there";
    /// Seconds that an agent waits in its call after its last client has gone.
    "grace.client_seconds" "CALLBRIDGE_GRACE_CLIENT_SECONDS" "grace-client-seconds" SECONDS
        = "15";
    /// Seconds that running turns may take to finish when the gateway shuts down.
    "grace.shutdown_seconds" "CALLBRIDGE_GRACE_SHUTDOWN_SECONDS" "grace-shutdown-seconds" SECONDS
        = "30";
    /// Hours after which an agent ends that has had no client and no call.
    "retention.inactive_hours" "CALLBRIDGE_RETENTION_INACTIVE_HOURS" "retention-inactive-hours"
        HOURS = "24";
    /// Minutes without any input or speech after which an agent leaves its call.
    "retention.idle_minutes" "CALLBRIDGE_RETENTION_IDLE_MINUTES" "retention-idle-minutes" MINUTES
        = "5";
    /// Seconds after which an agent leaves a room in which nobody else is.
    "retention.alone_seconds" "CALLBRIDGE_RETENTION_ALONE_SECONDS" "retention-alone-seconds"
        SECONDS = "60";
    /// Whether past calls are kept for their owners.
    "archive.enabled" "CALLBRIDGE_ARCHIVE_ENABLED" "archive-enabled" BOOL
        = "true";
    /// Days that past calls are kept.
    "archive.days" "CALLBRIDGE_ARCHIVE_DAYS" "archive-days" DAYS
        = "30";
    /// Folder for recordings of calls, of agents that ask for them; no other gateway's.
    "recordings.directory" "CALLBRIDGE_RECORDINGS_DIRECTORY" "recordings-directory" PATH
        = "none: no call can be recorded";
    /// Days that recordings are kept.
    "recordings.retention_days" "CALLBRIDGE_RECORDINGS_RETENTION_DAYS" "recordings-retention-days"
        DAYS = "30";
    /// Minutes of a call that are recorded at most.
    "recordings.max_minutes" "CALLBRIDGE_RECORDINGS_MAX_MINUTES" "recordings-max-minutes" MINUTES
        = "240";
    /// Bucket of an object storage (S3) that recordings are brought to when they have ended.
    "recordings.s3.bucket" "CALLBRIDGE_RECORDINGS_S3_BUCKET" "recordings-s3-bucket" NAME
        = "none: recordings lie in the folder";
    /// URL of the object storage.
    "recordings.s3.endpoint" "CALLBRIDGE_RECORDINGS_S3_ENDPOINT" "recordings-s3-endpoint" URL
        = "Amazon's, of that region";
    /// Region of the object storage.
    "recordings.s3.region" "CALLBRIDGE_RECORDINGS_S3_REGION" "recordings-s3-region" NAME
        = "us-east-1";
    /// What the names of recordings begin with in the bucket, with slashes between its parts.
    "recordings.s3.prefix" "CALLBRIDGE_RECORDINGS_S3_PREFIX" "recordings-s3-prefix" PREFIX
        = "none";
    /// Whether URLs have the bucket in their path, and not in their host.
    "recordings.s3.path_style" "CALLBRIDGE_RECORDINGS_S3_PATH_STYLE" "recordings-s3-path-style"
        BOOL = "true with an endpoint, else false";
    /// Access key of the object storage.
    "recordings.s3.access_key" "CALLBRIDGE_RECORDINGS_S3_ACCESS_KEY" "recordings-s3-access-key"
        KEY = "none";
    /// Secret that belongs to the access key.
    "recordings.s3.secret_key" "CALLBRIDGE_RECORDINGS_S3_SECRET_KEY" "recordings-s3-secret-key"
        SECRET = "none";
    /// Whether recordings stay in the folder as well, until their time is over.
    "recordings.s3.keep_local" "CALLBRIDGE_RECORDINGS_S3_KEEP_LOCAL" "recordings-s3-keep-local"
        BOOL = "false";
    /// Folder for journals: all that goes into agents and comes out, for `callbridge replay`.
    "journal.directory" "CALLBRIDGE_JOURNAL_DIRECTORY" "journal-directory" PATH
        = "none: no journals are written";
    /// Megabytes that one agent's journal may have; then it ends, and says so.
    "journal.megabytes_max" "CALLBRIDGE_JOURNAL_MEGABYTES_MAX" "journal-megabytes-max" NUMBER
        = "200";
    /// Where traces of calls are sent by OTLP over HTTP, such as `http://127.0.0.1:4318`.
    "telemetry.otlp_endpoint" "CALLBRIDGE_TELEMETRY_OTLP_ENDPOINT" "telemetry-otlp-endpoint" URL
        = "OTEL_EXPORTER_OTLP_ENDPOINT, or none: there are no traces";
    /// Requests a second with one API key; twice as many at once; 0 is no limit.
    "limits.requests_per_second" "CALLBRIDGE_LIMITS_REQUESTS_PER_SECOND"
        "limits-requests-per-second" NUMBER = "2000";
    /// Wrong keys a second from one address; five times as many at once; 0 is no limit.
    "limits.wrong_keys_per_second" "CALLBRIDGE_LIMITS_WRONG_KEYS_PER_SECOND"
        "limits-wrong-keys-per-second" NUMBER = "20";
    /// Messages a second from one client; ten times as many at once; 0 is no limit.
    "limits.messages_per_second" "CALLBRIDGE_LIMITS_MESSAGES_PER_SECOND"
        "limits-messages-per-second" NUMBER = "5000";
    /// How late a frame of an agent's may leave, in ms; 0 turns admission by lateness off.
    "admission.late_ms" "CALLBRIDGE_ADMISSION_LATE_MS" "admission-late-ms" MS
        = "5";
    /// How long a packet of a caller's may wait for its agent, in ms; 0 turns that off.
    "admission.queue_ms" "CALLBRIDGE_ADMISSION_QUEUE_MS" "admission-queue-ms" MS
        = "10";
    /// Percent of frames that may be late, or packets old, before new work is refused.
    "admission.late_percent" "CALLBRIDGE_ADMISSION_LATE_PERCENT" "admission-late-percent" PERCENT
        = "2";
    /// Calls and callers taken in a second; what is over it waits shortly; 0 is no limit.
    "admission.setups_per_second" "CALLBRIDGE_ADMISSION_SETUPS_PER_SECOND"
        "admission-setups-per-second" NUMBER = "100";
    /// Agents that may be in calls at once; 0 is no limit.
    "admission.calls_max" "CALLBRIDGE_ADMISSION_CALLS_MAX" "admission-calls-max" NUMBER
        = "0";
    /// Whether hosted rooms need no token and are made on first use.
    "rooms.open" "CALLBRIDGE_ROOMS_OPEN" "rooms-open" BOOL
        = "true when listening on loopback, else false";
    /// Whether agents may join `wav:` files as if they were rooms.
    "rooms.files" "CALLBRIDGE_ROOMS_FILES" "rooms-files" BOOL
        = "false";
    /// Python with Daily's package (`make deps-daily`): agents may then join rooms of Daily.
    "rooms.daily" "CALLBRIDGE_ROOMS_DAILY" "rooms-daily" PATH
        = "daily/bin/python in the same cache, if it is there";
    /// Whether webhooks may lead to private and loopback addresses.
    "webhooks.private" "CALLBRIDGE_WEBHOOKS_PRIVATE" "webhooks-private" BOOL
        = "false";
    /// `text` for people, or `json` with one object a line.
    "log.format" "CALLBRIDGE_LOG_FORMAT" "log-format" FORMAT
        = "text";
    /// Level of the log, and of single modules if wanted: `info,callbridge::rooms=debug`.
    "log.level" "CALLBRIDGE_LOG" "log" LEVELS
        = "info";
}

/// The setting of this key, if there is one.
#[must_use]
pub fn setting(key: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.key == key)
}
