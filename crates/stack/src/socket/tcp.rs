//! TCP sockets
/// a
pub struct ConnectOptions;
/// a
pub struct ListenOptions;
/// a
pub struct Shutdown;
/// a
pub struct TcpInfo;
