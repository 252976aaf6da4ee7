/* AtomKV: an embedded key-value database. The C++17 interface: atomkv.h with handles, views and errors as C++ has them.
 *
 *     auto db = atomkv::database::open("data");
 *     auto users = db.table("users");
 *     users.put("ada", "countess");
 *     if (auto value = users.get("ada"))
 *         std::cout << *value << '\n';
 *     for (auto [key, value] : users.scan())
 *         std::cout << key << " = " << value << '\n';
 *     db.transact([&](atomkv::transaction &t) { t.put(users, "alan", t.get(users, "ada").value_or("")); });
 *
 * There is nothing behind these classes but the calls of atomkv.h, which is the reference for what they do; link with
 * libatomkv as from C. All of it is there since 0.1.
 *
 * Errors are exceptions: atomkv::error, and below it a class for each status, such as atomkv::conflict. A program that
 * does without exceptions defines ATOMKV_NO_EXCEPTIONS before the include, the same in all of its files that hand these
 * objects to each other: every function that is declared as result<T> then returns an atomkv::result<T>, which holds
 * a T or an atomkv::error. With exceptions, result<T> is another name for T. What is not there is no error: an empty
 * std::optional, or false.
 *
 * Handles can be moved, not copied; destructors free them and never throw. They may be destroyed in any order: what was
 * opened from a database keeps it alive. One that was moved from, or made by its default constructor, is empty: calls
 * on it are ATOMKV_ERR_INVALID_ARGUMENT, and so are calls that are given it, such as options.
 *
 * Threads: one object may be used by many threads at once where atomkv.h says so of its handle (databases, tables,
 * snapshots, readers), also through members that are not const; moving and destroying it is for one. Options and arenas
 * are for one thread at a time.
 *
 * Keys have 1 to 65,535 bytes, values 0 to 2,147,483,647. Both are bytes, not text. Texts (paths, names) are
 * std::string without a NUL byte: paths in the system's encoding, which is UTF-8 on Windows, names in UTF-8. Times are
 * milliseconds: longer durations are cut to what fits, parts of a millisecond count as one.
 */

#ifndef ATOMKV_HPP
#define ATOMKV_HPP

#if !defined(ATOMKV_NO_EXCEPTIONS) && !defined(__cpp_exceptions) && !defined(_CPPUNWIND)
#error "exceptions are switched off: define ATOMKV_NO_EXCEPTIONS before the include of atomkv.hpp"
#endif

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <functional>
#include <initializer_list>
#include <iterator>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "atomkv.h"

/** AtomKV, an embedded key-value database. */
namespace atomkv {

// The two models of errors are different types, so files of one program may use either.
#ifdef ATOMKV_NO_EXCEPTIONS
/** Errors as results. */
inline namespace results {
#else
/** Errors as exceptions. */
inline namespace exceptions {
#endif

class bytes;
class report;
class table;
class snapshot;
class transaction;
class database;

/// @cond details
namespace detail {

template <class C> struct is_text_char : std::false_type {};
template <> struct is_text_char<char> : std::true_type {};
#ifdef __cpp_char8_t
template <> struct is_text_char<char8_t> : std::true_type {};
#endif

template <class E>
constexpr bool is_byte = sizeof(E) == 1 && !std::is_same_v<std::remove_cv_t<E>, bool> &&
                         (std::is_integral_v<E> || std::is_same_v<std::remove_cv_t<E>, std::byte>);

template <class C, class = void> struct is_byte_container : std::false_type {};
template <class C>
struct is_byte_container<
    C, std::enable_if_t<std::is_pointer_v<decltype(std::data(std::declval<const C &>()))> &&
                        std::is_convertible_v<decltype(std::size(std::declval<const C &>())), std::size_t>>>
    : std::bool_constant<
          is_byte<std::remove_pointer_t<decltype(std::data(std::declval<const C &>()))>> &&
          !std::is_same_v<C, bytes> &&
          !(std::is_array_v<C> && is_text_char<std::remove_cv_t<std::remove_extent_t<C>>>::value)> {};

} // namespace detail
/// @endcond

/**
 * Bytes that belong to somebody else, as std::span has them: what keys and values are given as. Made of string literals
 * (without the NUL at their end, with those in between), std::string, std::string_view, and containers of bytes
 * that lie together: std::vector<std::byte>, std::array<unsigned char, 16> and the like, whole. An array of char that
 * is no literal says its length: bytes(buffer, size).
 */
class bytes {
public:
    /** No bytes. */
    bytes() noexcept = default;

    /** `size` bytes from `data`, which may be nullptr if there are none. */
    bytes(const void *data, std::size_t size) noexcept : data_(data != nullptr ? data : ""), size_(size) {}

    /** A literal, without the NUL at its end. */
    template <class C, std::size_t N, class = std::enable_if_t<detail::is_text_char<C>::value>>
    bytes(const C (&literal)[N]) noexcept : bytes(literal, literal[N - 1] == C() ? N - 1 : N)
    {
    }

    /** Not of a buffer: nobody knows how much of it is meant. */
    template <class C, std::size_t N, class = std::enable_if_t<detail::is_text_char<C>::value>>
    bytes(C (&buffer)[N]) = delete;

    /** Text up to its NUL; nothing for nullptr. */
    template <class P,
              std::enable_if_t<std::is_same_v<P, const char *> || std::is_same_v<P, char *>, int> = 0>
    bytes(const P &text) noexcept : bytes(text, text != nullptr ? std::strlen(text) : 0)
    {
    }

    /** All bytes of a container, which must outlive this. */
    template <class C, std::enable_if_t<detail::is_byte_container<C>::value, int> = 0>
    bytes(const C &container) noexcept
        : bytes(static_cast<const void *>(std::data(container)), static_cast<std::size_t>(std::size(container)))
    {
    }

    /** The first byte; never nullptr. */
    const std::byte *data() const noexcept { return static_cast<const std::byte *>(data_); }
    /** How many bytes. */
    std::size_t size() const noexcept { return size_; }
    /** Whether there are none. */
    bool empty() const noexcept { return size_ == 0; }
    /** The first byte. */
    const std::byte *begin() const noexcept { return data(); }
    /** Behind the last byte. */
    const std::byte *end() const noexcept { return data() + size_; }
    /** The same bytes as characters. */
    operator std::string_view() const noexcept { return {static_cast<const char *>(data_), size_}; }

private:
    const void *data_ = "";
    std::size_t size_ = 0;
};

/** What a write did: version and sequence. */
using written = atomkv_written;
/** How far a long call is. */
using progress_values = atomkv_progress_values;
/** A moment, in milliseconds. */
using time_point = std::chrono::time_point<std::chrono::system_clock, std::chrono::milliseconds>;

/** When an acknowledged write is on stable storage. */
enum class durability : std::int32_t {
    /** As the table says; of batches and transactions, buffered. */
    table = ATOMKV_DURABILITY_TABLE,
    /** Survives the end of the process; synced in the background. */
    buffered = ATOMKV_DURABILITY_BUFFERED,
    /** On stable storage on return. */
    sync = ATOMKV_DURABILITY_SYNC,
};

/** What has happened to a key. */
enum class change_kind : std::int32_t {
    /** It has this value now. */
    put = ATOMKV_CHANGE_PUT,
    /** It is not there any more. */
    erase = ATOMKV_CHANGE_DELETE,
    /** Nothing: it has had this value when the watch began. */
    state = ATOMKV_CHANGE_STATE,
};

/** How a backup is made or restored; combined by `|`. */
enum class backup_flags : std::uint32_t {
    /** Nothing of this. */
    none = 0,
    /** Read all of it again and verify it. */
    verify = ATOMKV_BACKUP_VERIFY,
    /** Copy files that could be hard links. */
    copy = ATOMKV_BACKUP_COPY,
};

/** Both. */
constexpr backup_flags operator|(backup_flags a, backup_flags b) noexcept
{
    return static_cast<backup_flags>(static_cast<std::uint32_t>(a) | static_cast<std::uint32_t>(b));
}

/** What must be there for a write to happen. */
class expect {
public:
    /** Anything or nothing. */
    static constexpr expect anything() noexcept { return {ATOMKV_EXPECT_ANYTHING, 0}; }
    /** The key must not be there. */
    static constexpr expect absent() noexcept { return {ATOMKV_EXPECT_ABSENT, 0}; }
    /** The key must be there. */
    static constexpr expect present() noexcept { return {ATOMKV_EXPECT_PRESENT, 0}; }
    /** The key must be there with this version. */
    static constexpr expect version(std::uint64_t number) noexcept { return {ATOMKV_EXPECT_VERSION, number}; }
    /** The key must be there as this commit has written it. */
    static constexpr expect sequence(std::uint64_t number) noexcept { return {ATOMKV_EXPECT_SEQUENCE, number}; }

    /** An atomkv_expect. */
    constexpr std::int32_t what() const noexcept { return what_; }
    /** The version or sequence. */
    constexpr std::uint64_t number() const noexcept { return number_; }

private:
    constexpr expect(std::int32_t what, std::uint64_t number) noexcept : what_(what), number_(number) {}
    std::int32_t what_;
    std::uint64_t number_;
};

/** What is known of a document beside its value. */
struct entry {
    /** The key's version: 1 for a new key, one more with each change. */
    std::uint64_t version = 0;
    /** The commit that wrote it. */
    std::uint64_t sequence = 0;
    /** When it was written. */
    time_point time;
    /** When it expires or has expired; nothing if it does not. */
    std::optional<time_point> expires_at;
    /** Whether this version is a tombstone: the key was deleted, and the value is empty. */
    bool tombstone = false;
};

/** A document with what is known of it. */
struct document {
    /** The value. */
    std::string value;
    /** Version, sequence and times. */
    entry about;
};

/** A version of a document in a history. */
struct past_document {
    /** The value; lives as long as the history. */
    std::string_view value;
    /** Version, sequence and times. */
    entry about;
};

/** A key with its value. */
struct item {
    /** The key. */
    std::string_view key;
    /** The value. */
    std::string_view value;
};

/** A number with its name. */
struct figure {
    /** The name; lives as long as the report. */
    std::string_view name;
    /** The number. */
    std::uint64_t value;
};

/** One change of one key. Its texts live until the next call on the watch. */
struct change {
    /** The table's name. */
    std::string_view table;
    /** The key. */
    std::string_view key;
    /**
     * The value; nothing for a delete, for what is superseded and not kept any more, and for what was streamed and is too
     * large for a value: open that with table::reader.
     */
    std::optional<std::string_view> value;
    /** The key's version. */
    std::uint64_t version;
    /** The commit. */
    std::uint64_t sequence;
    /** When it was committed. */
    time_point time;
    /** When the document expires; nothing if it does not. */
    std::optional<time_point> expires_at;
    /** What has happened. */
    change_kind kind;
    /** Whether a later change of the key was committed already. */
    bool superseded;
    /** Whether this is the last change of its commit. */
    bool last_of_commit;
};

/// @cond details
namespace detail {

inline std::string_view text(const atomkv_slice &slice) noexcept
{
    if (slice.data == nullptr)
        return {};
    return {static_cast<const char *>(slice.data), slice.size};
}

inline atomkv_slice slice(const bytes &from) noexcept
{
    return {from.data(), from.size()};
}

inline std::optional<std::string_view> optional_text(const atomkv_slice &slice) noexcept
{
    return slice.data == nullptr ? std::nullopt : std::optional<std::string_view>(text(slice));
}

inline time_point moment(std::uint64_t ms) noexcept
{
    constexpr std::uint64_t most = std::numeric_limits<std::int64_t>::max();
    return time_point(std::chrono::milliseconds(static_cast<std::int64_t>(ms < most ? ms : most)));
}

inline std::optional<time_point> expiry(std::uint64_t ms) noexcept
{
    return ms == ATOMKV_NEVER ? std::nullopt : std::optional<time_point>(moment(ms));
}

inline entry entry_of(const atomkv_entry &from) noexcept
{
    return {from.version, from.sequence, moment(from.time_ms), expiry(from.expires_at_ms), from.is_tombstone != 0};
}

// Milliseconds, rounded up, cut to what fits.
template <class R, class P> std::uint64_t milliseconds(const std::chrono::duration<R, P> &time)
{
    using exact = std::chrono::duration<long double, std::milli>;
    using whole = std::chrono::duration<std::int64_t, std::milli>;
    const exact wanted(time);
    if (!(wanted.count() > 0))
        return 0;
    if (wanted.count() >= 9.0e18L)
        return static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
    const auto ms = std::chrono::duration_cast<whole>(time);
    return static_cast<std::uint64_t>(ms.count()) + (exact(ms) < wanted ? 1 : 0);
}

struct failure {
    atomkv_status code = ATOMKV_OK;
    std::string message;
    std::string path;
    std::string table;
    std::string key;
    bool has_key = false;
    std::int64_t offset = -1;
    std::int64_t process = -1;
    atomkv_written found{};
    std::shared_ptr<const atomkv::report> report;
};

} // namespace detail
/// @endcond

/**
 * Why a call failed. Copies share one content; it may be read by many threads at once. Path, offset, process, table and
 * key are told by calls for which atomkv.h has an `error` parameter; of others there is the code with its message.
 */
class error : public std::exception {
public:
    /** Made by the calls that fail. */
    explicit error(std::shared_ptr<const detail::failure> content) noexcept : content_(std::move(content)) {}

    /** The status, such as ATOMKV_ERR_LOCKED. */
    atomkv_status code() const noexcept { return content_->code; }
    /** The name of the status, such as "ATOMKV_ERR_LOCKED". */
    const char *name() const noexcept { return atomkv_status_name(content_->code); }
    /** What happened, where, and what to do, in English. */
    const std::string &message() const noexcept { return content_->message; }
    /** The message. */
    const char *what() const noexcept override { return content_->message.c_str(); }
    /** The file or directory concerned, in the system's encoding; empty if there is none. */
    const std::string &path() const noexcept { return content_->path; }
    /** The byte offset at which the damage begins, in that file or in the data to be imported. */
    std::optional<std::int64_t> offset() const noexcept { return known(content_->offset); }
    /** The process that has the database open, after ATOMKV_ERR_LOCKED. */
    std::optional<std::int64_t> process() const noexcept { return known(content_->process); }
    /** The table concerned; empty if there is none. */
    const std::string &table() const noexcept { return content_->table; }
    /** The key of a conflict; lives as long as the error. */
    std::optional<std::string_view> key() const noexcept
    {
        return content_->has_key ? std::optional<std::string_view>(content_->key) : std::nullopt;
    }
    /** The version and sequence that are there, after a conflict; zeros if the key is not. */
    written found() const noexcept { return content_->found; }
    /**
     * What came of a call that failed on its way, such as the position of an import or the damages that verifying
     * found; nullptr if there is nothing. Lives as long as the error.
     */
    const atomkv::report *report() const noexcept { return content_->report.get(); }

private:
    static std::optional<std::int64_t> known(std::int64_t number) noexcept
    {
        return number < 0 ? std::nullopt : std::optional<std::int64_t>(number);
    }
    std::shared_ptr<const detail::failure> content_;
};

#ifdef ATOMKV_NO_EXCEPTIONS

/** What a call gives, or why it failed. Asking for what is not there ends the program with the error's message. */
template <class T> class [[nodiscard]] result {
public:
    /** Success. */
    result(T &&value) : state_(std::in_place_index<0>, std::move(value)) {}
    /** Success. */
    result(const T &value) : state_(std::in_place_index<0>, value) {}
    /** Failure. */
    result(atomkv::error why) : state_(std::in_place_index<1>, std::move(why)) {}

    /** Whether it is a success. There is no conversion to bool, which would be mistaken for the value. */
    bool ok() const noexcept { return state_.index() == 0; }
    /** The value. */
    T &value() & { return *need(std::get_if<0>(&state_)); }
    /** The value. */
    const T &value() const & { return *need(std::get_if<0>(&state_)); }
    /** The value, taken out, so that `for (… : f().value())` keeps it. */
    T value() && { return std::move(*need(std::get_if<0>(&state_))); }
    /** The value. */
    T &operator*() & { return value(); }
    /** The value. */
    const T &operator*() const & { return value(); }
    /** The value, taken out. */
    T operator*() && { return std::move(*this).value(); }
    /** A member of the value. */
    T *operator->() { return &value(); }
    /** A member of the value. */
    const T *operator->() const { return &value(); }
    /** Why it failed. */
    const atomkv::error &error() const
    {
        if (ok()) {
            std::fputs("atomkv: asked for the error of a success\n", stderr);
            std::abort();
        }
        return *std::get_if<1>(&state_);
    }

private:
    template <class V> V *need(V *value) const
    {
        if (value == nullptr) {
            std::fprintf(stderr, "atomkv: asked for the value of a failure: %s\n", error().what());
            std::abort();
        }
        return value;
    }
    std::variant<T, atomkv::error> state_;
};

/** Success, or why a call failed. */
template <> class [[nodiscard]] result<void> {
public:
    /** Success. */
    result() = default;
    /** Failure. */
    result(atomkv::error why) : error_(std::move(why)) {}

    /** Whether it is a success. */
    bool ok() const noexcept { return !error_; }
    /** Nothing; ends the program if it is a failure. */
    void value() const
    {
        if (error_) {
            std::fprintf(stderr, "atomkv: asked for the value of a failure: %s\n", error_->what());
            std::abort();
        }
    }
    /** Why it failed. */
    const atomkv::error &error() const
    {
        if (!error_) {
            std::fputs("atomkv: asked for the error of a success\n", stderr);
            std::abort();
        }
        return *error_;
    }

private:
    std::optional<atomkv::error> error_;
};

#else

/** What a call gives: a T, or it throws. With ATOMKV_NO_EXCEPTIONS a class. */
template <class T> using result = T;

/** The error with one status, to be caught by the names below. */
template <std::int32_t Status> class error_of : public error {
public:
    /** Made by the calls that fail. */
    explicit error_of(const error &why) noexcept : error(why) {}
};

/** ATOMKV_NOT_FOUND. A key that table::at needs is not there. */
using not_found = error_of<ATOMKV_NOT_FOUND>;
/**
 * ATOMKV_ERR_INTERNAL. A defect of AtomKV, or a panic in a service. If it broke into a commit, the database is
 * read-only until it is reopened.
 */
using internal_error = error_of<ATOMKV_ERR_INTERNAL>;
/** ATOMKV_ERR_INVALID_ARGUMENT. An argument is NULL where it may not be, or out of its range. */
using invalid_argument = error_of<ATOMKV_ERR_INVALID_ARGUMENT>;
/** ATOMKV_ERR_CLOSED. The database was closed. */
using closed = error_of<ATOMKV_ERR_CLOSED>;
/** ATOMKV_ERR_FORKED. The process was forked after the database was opened. */
using forked = error_of<ATOMKV_ERR_FORKED>;
/** ATOMKV_ERR_LOCKED. The database is open elsewhere. */
using locked = error_of<ATOMKV_ERR_LOCKED>;
/** ATOMKV_ERR_NOT_A_DATABASE. The path is not a database, and cannot become one. */
using not_a_database = error_of<ATOMKV_ERR_NOT_A_DATABASE>;
/** ATOMKV_ERR_CORRUPT. Stored bytes are damaged. */
using corrupt = error_of<ATOMKV_ERR_CORRUPT>;
/** ATOMKV_ERR_NEWER_FORMAT. A file was written by a newer release. */
using newer_format = error_of<ATOMKV_ERR_NEWER_FORMAT>;
/** ATOMKV_ERR_READ_ONLY. An earlier failure of a write made the database read-only until it is reopened. */
using read_only = error_of<ATOMKV_ERR_READ_ONLY>;
/** ATOMKV_ERR_NO_SPACE. The file system is full. Nothing was written. */
using no_space = error_of<ATOMKV_ERR_NO_SPACE>;
/** ATOMKV_ERR_IO. The operating system refused an operation. */
using io_error = error_of<ATOMKV_ERR_IO>;
/** ATOMKV_ERR_KEY_EMPTY. Keys have 1 to 65,535 bytes. */
using key_empty = error_of<ATOMKV_ERR_KEY_EMPTY>;
/** ATOMKV_ERR_KEY_TOO_LONG. Keys have 1 to 65,535 bytes. */
using key_too_long = error_of<ATOMKV_ERR_KEY_TOO_LONG>;
/** ATOMKV_ERR_VALUE_TOO_LARGE. Values have 0 to 2,147,483,647 bytes. */
using value_too_large = error_of<ATOMKV_ERR_VALUE_TOO_LARGE>;
/** ATOMKV_ERR_INVALID_KEY. The table's validator refused the key. */
using invalid_key = error_of<ATOMKV_ERR_INVALID_KEY>;
/** ATOMKV_ERR_TABLE_NOT_FOUND. There is no table of that name. */
using table_not_found = error_of<ATOMKV_ERR_TABLE_NOT_FOUND>;
/** ATOMKV_ERR_TABLE_MISMATCH. The table exists with other settings. */
using table_mismatch = error_of<ATOMKV_ERR_TABLE_MISMATCH>;
/** ATOMKV_ERR_SERVICES_MISMATCH. The table was created with another service. */
using services_mismatch = error_of<ATOMKV_ERR_SERVICES_MISMATCH>;
/** ATOMKV_ERR_DOCUMENT. A stored document cannot be decompressed, or the compressor failed. */
using document_error = error_of<ATOMKV_ERR_DOCUMENT>;
/** ATOMKV_ERR_BUFFER_TOO_SMALL. The caller's buffer is too small. */
using buffer_too_small = error_of<ATOMKV_ERR_BUFFER_TOO_SMALL>;
/** ATOMKV_ERR_NO_MEMORY. There is not enough memory. */
using no_memory = error_of<ATOMKV_ERR_NO_MEMORY>;
/**
 * ATOMKV_ERR_CONFLICT. A write expected something else than what is there, or what a transaction has read has changed.
 * Nothing was written.
 */
using conflict = error_of<ATOMKV_ERR_CONFLICT>;
/** ATOMKV_ERR_VERSION_NOT_FOUND. The key never had this version in its present life. */
using version_not_found = error_of<ATOMKV_ERR_VERSION_NOT_FOUND>;
/** ATOMKV_ERR_VERSION_COMPACTED. The version is not kept any more. */
using version_compacted = error_of<ATOMKV_ERR_VERSION_COMPACTED>;
/** ATOMKV_ERR_COMPACTED. The changes that were asked for are not in the log any more. */
using compacted = error_of<ATOMKV_ERR_COMPACTED>;
/** ATOMKV_ERR_MERGE. The value is none that the merge operator can change, or the result would be out of its range. */
using merge_error = error_of<ATOMKV_ERR_MERGE>;
/** ATOMKV_ERR_ALREADY_EXISTS. What a call would make is there already. Nothing was touched. */
using already_exists = error_of<ATOMKV_ERR_ALREADY_EXISTS>;
/** ATOMKV_ERR_INPUT. Data to be imported or restored is not as it should be. */
using input_error = error_of<ATOMKV_ERR_INPUT>;
/** ATOMKV_ERR_CANCELLED. The call was ended by the caller's own callback. */
using cancelled = error_of<ATOMKV_ERR_CANCELLED>;
/** ATOMKV_ERR_CALLBACK. A callback of the caller's said that it failed. */
using callback_failed = error_of<ATOMKV_ERR_CALLBACK>;

#endif

/// @cond details
namespace detail {

// Receives the details of an error.
class error_slot {
public:
    error_slot() = default;
    error_slot(const error_slot &) = delete;
    error_slot &operator=(const error_slot &) = delete;
    ~error_slot() { atomkv_error_free(error_); }
    atomkv_error **out() noexcept { return &error_; }
    const atomkv_error *get() const noexcept { return error_; }

private:
    atomkv_error *error_ = nullptr;
};

inline std::string text_or_empty(const char *text)
{
    return text != nullptr ? text : "";
}

inline error make_error(std::int32_t status, const atomkv_error *details = nullptr,
                        std::shared_ptr<const atomkv::report> report = nullptr)
{
    auto content = std::make_shared<failure>();
    content->code = static_cast<atomkv_status>(status);
    content->report = std::move(report);
    if (details != nullptr) {
        content->message = text_or_empty(atomkv_error_message(details));
        content->path = text_or_empty(atomkv_error_path(details));
        content->table = text_or_empty(atomkv_error_table(details));
        content->offset = atomkv_error_offset(details);
        content->process = atomkv_error_process(details);
        atomkv_slice key{};
        if (atomkv_error_conflict(details, &key, &content->found) == ATOMKV_OK) {
            content->has_key = true;
            content->key = text(key);
        }
    } else {
        content->message = status < 0 ? atomkv_last_error() : atomkv_status_text(status);
    }
    return error(std::move(content));
}

// Texts that C would read only up to a NUL in them are refused.
inline bool has_nul(const std::string &text) noexcept
{
    return text.find('\0') != std::string::npos;
}

inline error argument_error(std::string reason)
{
    auto content = std::make_shared<failure>();
    content->code = ATOMKV_ERR_INVALID_ARGUMENT;
    content->message = std::move(reason);
    return error(std::move(content));
}

inline error nul_error(const std::string &text)
{
    return argument_error("there is a NUL byte in the text that begins with '" + std::string(text.c_str()) + "'");
}

// Of what was moved from and may be left out in C: NULL would stand for the defaults, or for nobody.
inline const error &empty_error()
{
    static const error empty = argument_error("options or a progress that were moved from are no argument");
    return empty;
}

#ifdef ATOMKV_NO_EXCEPTIONS

template <class T> result<T> fail(error why)
{
    return result<T>(std::move(why));
}

// What a callback has thrown; nothing here.
class pending {
public:
    template <class F> std::int32_t guard(F &&f) noexcept { return f() ? 0 : 1; }
    void rethrow() {}
};

#else

[[noreturn]] inline void raise(const error &why)
{
    switch (why.code()) {
    case ATOMKV_NOT_FOUND:
        throw not_found(why);
    case ATOMKV_ERR_INTERNAL:
        throw internal_error(why);
    case ATOMKV_ERR_INVALID_ARGUMENT:
        throw invalid_argument(why);
    case ATOMKV_ERR_CLOSED:
        throw closed(why);
    case ATOMKV_ERR_FORKED:
        throw forked(why);
    case ATOMKV_ERR_LOCKED:
        throw locked(why);
    case ATOMKV_ERR_NOT_A_DATABASE:
        throw not_a_database(why);
    case ATOMKV_ERR_CORRUPT:
        throw corrupt(why);
    case ATOMKV_ERR_NEWER_FORMAT:
        throw newer_format(why);
    case ATOMKV_ERR_READ_ONLY:
        throw read_only(why);
    case ATOMKV_ERR_NO_SPACE:
        throw no_space(why);
    case ATOMKV_ERR_IO:
        throw io_error(why);
    case ATOMKV_ERR_KEY_EMPTY:
        throw key_empty(why);
    case ATOMKV_ERR_KEY_TOO_LONG:
        throw key_too_long(why);
    case ATOMKV_ERR_VALUE_TOO_LARGE:
        throw value_too_large(why);
    case ATOMKV_ERR_INVALID_KEY:
        throw invalid_key(why);
    case ATOMKV_ERR_TABLE_NOT_FOUND:
        throw table_not_found(why);
    case ATOMKV_ERR_TABLE_MISMATCH:
        throw table_mismatch(why);
    case ATOMKV_ERR_SERVICES_MISMATCH:
        throw services_mismatch(why);
    case ATOMKV_ERR_DOCUMENT:
        throw document_error(why);
    case ATOMKV_ERR_BUFFER_TOO_SMALL:
        throw buffer_too_small(why);
    case ATOMKV_ERR_NO_MEMORY:
        throw no_memory(why);
    case ATOMKV_ERR_CONFLICT:
        throw conflict(why);
    case ATOMKV_ERR_VERSION_NOT_FOUND:
        throw version_not_found(why);
    case ATOMKV_ERR_VERSION_COMPACTED:
        throw version_compacted(why);
    case ATOMKV_ERR_COMPACTED:
        throw compacted(why);
    case ATOMKV_ERR_MERGE:
        throw merge_error(why);
    case ATOMKV_ERR_ALREADY_EXISTS:
        throw already_exists(why);
    case ATOMKV_ERR_INPUT:
        throw input_error(why);
    case ATOMKV_ERR_CANCELLED:
        throw cancelled(why);
    case ATOMKV_ERR_CALLBACK:
        throw callback_failed(why);
    default:
        throw why;
    }
}

template <class T> [[noreturn]] T fail(const error &why)
{
    raise(why);
}

// What a callback has thrown, on its way round the C library.
class pending {
public:
    template <class F> std::int32_t guard(F &&f) noexcept
    {
        try {
            return f() ? 0 : 1;
        } catch (...) {
            thrown_ = std::current_exception();
            return 1;
        }
    }
    void rethrow()
    {
        if (thrown_)
            std::rethrow_exception(std::exchange(thrown_, nullptr));
    }

private:
    std::exception_ptr thrown_;
};

#endif

inline result<void> done(std::int32_t status)
{
    if (status < 0)
        return fail<void>(make_error(status));
    return result<void>();
}

template <class T> result<std::decay_t<T>> done(std::int32_t status, T &&value)
{
    if (status < 0)
        return fail<std::decay_t<T>>(make_error(status));
    return std::forward<T>(value);
}

template <class T> result<std::decay_t<T>> done(std::int32_t status, const error_slot &slot, T &&value)
{
    if (status < 0)
        return fail<std::decay_t<T>>(make_error(status, slot.get()));
    return std::forward<T>(value);
}

// The value if the status says that it is there.
template <class T> result<std::optional<std::decay_t<T>>> found(std::int32_t status, T &&value)
{
    using optional = std::optional<std::decay_t<T>>;
    if (status < 0)
        return fail<optional>(make_error(status));
    return status == ATOMKV_OK ? optional(std::forward<T>(value)) : optional();
}

inline result<bool> is_ok(std::int32_t status)
{
    return done(status, status == ATOMKV_OK);
}

// Memory of the library's until it is copied.
class owned {
public:
    owned() = default;
    owned(const owned &) = delete;
    owned &operator=(const owned &) = delete;
    ~owned() { atomkv_free(buffer_.data); }
    atomkv_buffer *out() noexcept { return &buffer_; }
    std::string string() const
    {
        if (buffer_.data == nullptr)
            return {};
        return {static_cast<const char *>(buffer_.data), buffer_.size};
    }

private:
    atomkv_buffer buffer_{};
};

// A callback that says false has had enough; one that says nothing has not.
template <class F, class... A> bool goes_on(F &f, A &&...arguments)
{
    if constexpr (std::is_void_v<std::invoke_result_t<F &, A...>>) {
        f(std::forward<A>(arguments)...);
        return true;
    } else {
        return static_cast<bool>(f(std::forward<A>(arguments)...));
    }
}

// Goes over what has numbers, for range-for.
template <class Owner> class index_iterator {
public:
    using iterator_category = std::input_iterator_tag;
    using difference_type = std::ptrdiff_t;
    using value_type = decltype(std::declval<const Owner &>()[0]);
    using reference = value_type;
    using pointer = void;

    index_iterator() = default;
    index_iterator(const Owner *owner, std::size_t index) noexcept : owner_(owner), index_(index) {}
    reference operator*() const { return (*owner_)[index_]; }
    index_iterator &operator++() noexcept
    {
        index_++;
        return *this;
    }
    index_iterator operator++(int) noexcept
    {
        auto before = *this;
        index_++;
        return before;
    }
    friend bool operator==(const index_iterator &a, const index_iterator &b) noexcept { return a.index_ == b.index_; }
    friend bool operator!=(const index_iterator &a, const index_iterator &b) noexcept { return a.index_ != b.index_; }

private:
    const Owner *owner_ = nullptr;
    std::size_t index_ = 0;
};

} // namespace detail
/// @endcond

/** A handle of the C library that is freed with this. Moved, not copied. */
template <class T, void (*Free)(T *)> class unique_handle {
public:
    /** Empty. */
    unique_handle() noexcept = default;
    /** Takes a handle over. */
    explicit unique_handle(T *taken) noexcept : handle_(taken) {}
    /** Whether there is one. */
    explicit operator bool() const noexcept { return handle_ != nullptr; }
    /** For calls of atomkv.h. It stays with this. */
    T *handle() const noexcept { return handle_.get(); }
    /** Gives the handle away; the caller frees it. */
    T *release() noexcept { return handle_.release(); }

private:
    struct deleter {
        void operator()(T *handle) const noexcept { Free(handle); }
    };
    std::unique_ptr<T, deleter> handle_;
};

/// @cond details
namespace detail {

// Options: setters that fail throw, or have the call fail that uses the options. So do options that were moved from.
template <class T, void (*Free)(T *)> class builder : public unique_handle<T, Free> {
public:
    using unique_handle<T, Free>::unique_handle;
#ifdef ATOMKV_NO_EXCEPTIONS
    const error *failure() const
    {
        // First: what it has failed with was moved too.
        if (!*this)
            return &empty_error();
        return failure_ ? &*failure_ : nullptr;
    }

protected:
    void set(std::int32_t status)
    {
        if (status < 0 && !failure_)
            failure_ = make_error(status);
    }
    void refuse(const std::string &text) { refuse(nul_error(text)); }
    void refuse(const error &why)
    {
        if (!failure_)
            failure_ = why;
    }

private:
    std::optional<error> failure_;
#else
    const error *failure() const { return *this ? nullptr : &empty_error(); }

protected:
    void set(std::int32_t status) { done(status); }
    void refuse(const std::string &text) { refuse(nul_error(text)); }
    void refuse(const error &why) { fail<void>(why); }
#endif
};

} // namespace detail
/// @endcond

/** How a database is opened. May be used for several databases. */
class options : public detail::builder<atomkv_options, atomkv_options_free> {
public:
    /** The defaults. */
    options() : builder(atomkv_options_new()) {}

    /** Whether a missing or empty directory becomes a new database. Default yes. */
    options &create_if_missing(bool yes = true) &
    {
        this->set(atomkv_options_set_create_if_missing(handle(), yes ? 1 : 0));
        return *this;
    }
    /** The same, of a temporary. */
    options &&create_if_missing(bool yes = true) && { return std::move(create_if_missing(yes)); }
    /** Whether files are mapped into memory. Default yes. Without, a failing device is an error instead of a signal. */
    options &mapped(bool yes = true) &
    {
        this->set(atomkv_options_set_mapped(handle(), yes ? 1 : 0));
        return *this;
    }
    /** The same, of a temporary. */
    options &&mapped(bool yes = true) && { return std::move(mapped(yes)); }
    /** The longest time that a buffered write waits for its sync. Default a second; not 0. */
    template <class R, class P> options &sync_interval(std::chrono::duration<R, P> time) &
    {
        this->set(atomkv_options_set_sync_interval_ms(handle(), detail::milliseconds(time)));
        return *this;
    }
    /** The same, of a temporary. */
    template <class R, class P> options &&sync_interval(std::chrono::duration<R, P> time) &&
    {
        return std::move(sync_interval(time));
    }
    /** How many unsynced bytes begin a background sync. Default 64 MiB; not 0. */
    options &sync_bytes(std::uint64_t count) &
    {
        this->set(atomkv_options_set_sync_bytes(handle(), count));
        return *this;
    }
    /** The same, of a temporary. */
    options &&sync_bytes(std::uint64_t count) && { return std::move(sync_bytes(count)); }
    /** The sizes of the first and the largest log segment. Default 256 KiB and 64 MiB; 64 KiB to 256 MiB. */
    options &segment_bytes(std::uint64_t first, std::uint64_t largest) &
    {
        this->set(atomkv_options_set_segment_bytes(handle(), first, largest));
        return *this;
    }
    /** The same, of a temporary. */
    options &&segment_bytes(std::uint64_t first, std::uint64_t largest) &&
    {
        return std::move(segment_bytes(first, largest));
    }
    /** How many bytes of log may follow a checkpoint. Default 128 MiB; not 0. */
    options &checkpoint_bytes(std::uint64_t count) &
    {
        this->set(atomkv_options_set_checkpoint_bytes(handle(), count));
        return *this;
    }
    /** The same, of a temporary. */
    options &&checkpoint_bytes(std::uint64_t count) && { return std::move(checkpoint_bytes(count)); }
    /** How many dead bytes compaction tolerates, as a share of the live. Default 0.33; at least 0.05. */
    options &dead_ratio(double ratio) &
    {
        this->set(atomkv_options_set_dead_ratio(handle(), ratio));
        return *this;
    }
    /** The same, of a temporary. */
    options &&dead_ratio(double ratio) && { return std::move(dead_ratio(ratio)); }
    /** From which stored length a value lives in a file of its own. Default 1 MiB; 4 KiB to 64 MiB. */
    options &large_value_bytes(std::uint64_t count) &
    {
        this->set(atomkv_options_set_large_value_bytes(handle(), count));
        return *this;
    }
    /** The same, of a temporary. */
    options &&large_value_bytes(std::uint64_t count) && { return std::move(large_value_bytes(count)); }
    /** Whether checksums are verified on every read. Default yes. */
    options &verify_checksums(bool yes = true) &
    {
        this->set(atomkv_options_set_verify_checksums(handle(), yes ? 1 : 0));
        return *this;
    }
    /** The same, of a temporary. */
    options &&verify_checksums(bool yes = true) && { return std::move(verify_checksums(yes)); }
    /** Whether a database whose newest log is damaged is opened without the damaged commits. Default no. */
    options &skip_damaged_log(bool yes = true) &
    {
        this->set(atomkv_options_set_skip_damaged_log(handle(), yes ? 1 : 0));
        return *this;
    }
    /** The same, of a temporary. */
    options &&skip_damaged_log(bool yes = true) && { return std::move(skip_damaged_log(yes)); }
    /** Whether the database is opened for reading, beside the process that writes. Default no. */
    options &read_only(bool yes = true) &
    {
        this->set(atomkv_options_set_read_only(handle(), yes ? 1 : 0));
        return *this;
    }
    /** The same, of a temporary. */
    options &&read_only(bool yes = true) && { return std::move(read_only(yes)); }
    /** Whether threads of the database work in the background. Default yes. */
    options &background(bool yes = true) &
    {
        this->set(atomkv_options_set_background(handle(), yes ? 1 : 0));
        return *this;
    }
    /** The same, of a temporary. */
    options &&background(bool yes = true) && { return std::move(background(yes)); }
    /** How many bytes a second compaction in the background may move. Default 0: no limit. */
    options &compaction_rate(std::uint64_t bytes_per_second) &
    {
        this->set(atomkv_options_set_compaction_rate(handle(), bytes_per_second));
        return *this;
    }
    /** The same, of a temporary. */
    options &&compaction_rate(std::uint64_t bytes_per_second) &&
    {
        return std::move(compaction_rate(bytes_per_second));
    }
    /** Whether expired documents are removed in the background. Default yes. */
    options &reap_expired(bool yes = true) &
    {
        this->set(atomkv_options_set_reap_expired(handle(), yes ? 1 : 0));
        return *this;
    }
    /** The same, of a temporary. */
    options &&reap_expired(bool yes = true) && { return std::move(reap_expired(yes)); }
    /** How many bytes of the newest log are kept for watches that come back. */
    options &feed_bytes(std::uint64_t count) &
    {
        this->set(atomkv_options_set_feed_bytes(handle(), count));
        return *this;
    }
    /** The same, of a temporary. */
    options &&feed_bytes(std::uint64_t count) && { return std::move(feed_bytes(count)); }
    /** The seed of the hashes of a new database. For tests; random unless given. */
    options &hash_seed(std::uint64_t seed) &
    {
        this->set(atomkv_options_set_hash_seed(handle(), seed));
        return *this;
    }
    /** The same, of a temporary. */
    options &&hash_seed(std::uint64_t seed) && { return std::move(hash_seed(seed)); }
};

/** How a table is created or opened. May be used for several tables. */
class table_options : public detail::builder<atomkv_table_options, atomkv_table_options_free> {
public:
    /** The defaults. */
    table_options() : builder(atomkv_table_options_new()) {}

    /** Whether a missing table is created. Default yes. */
    table_options &create_if_missing(bool yes = true) &
    {
        this->set(atomkv_table_options_set_create_if_missing(handle(), yes ? 1 : 0));
        return *this;
    }
    /** The same, of a temporary. */
    table_options &&create_if_missing(bool yes = true) && { return std::move(create_if_missing(yes)); }
    /** The number of partitions that a new table begins with, 1 to 16,384. Default 16. */
    table_options &partitions(std::uint32_t count) &
    {
        this->set(atomkv_table_options_set_partitions(handle(), count));
        return *this;
    }
    /** The same, of a temporary. */
    table_options &&partitions(std::uint32_t count) && { return std::move(partitions(count)); }
    /** The durability of writes that do not name one. */
    table_options &durability(atomkv::durability how) &
    {
        this->set(atomkv_table_options_set_durability(handle(), static_cast<std::int32_t>(how)));
        return *this;
    }
    /** The same, of a temporary. */
    table_options &&durability(atomkv::durability how) && { return std::move(durability(how)); }
    /** Whether keys are kept in order too, for ranges and reverse scans. Default no. */
    table_options &ordered(bool yes = true) &
    {
        this->set(atomkv_table_options_set_ordered(handle(), yes ? 1 : 0));
        return *this;
    }
    /** The same, of a temporary. */
    table_options &&ordered(bool yes = true) && { return std::move(ordered(yes)); }
    /** Whether the number of partitions follows the table's size. Default no. */
    table_options &auto_partitions(bool yes = true) &
    {
        this->set(atomkv_table_options_set_auto_partitions(handle(), yes ? 1 : 0));
        return *this;
    }
    /** The same, of a temporary. */
    table_options &&auto_partitions(bool yes = true) && { return std::move(auto_partitions(yes)); }
    /** How many versions of a document are kept, the newest among them. Default 1. */
    table_options &retention_versions(std::uint32_t versions) &
    {
        this->set(atomkv_table_options_set_retention_versions(handle(), versions));
        return *this;
    }
    /** The same, of a temporary. */
    table_options &&retention_versions(std::uint32_t versions) && { return std::move(retention_versions(versions)); }
    /** How long a version is kept after a newer one has replaced it; at least a millisecond. */
    template <class R, class P> table_options &retention(std::chrono::duration<R, P> time) &
    {
        this->set(atomkv_table_options_set_retention_ms(handle(), detail::milliseconds(time)));
        return *this;
    }
    /** The same, of a temporary. */
    template <class R, class P> table_options &&retention(std::chrono::duration<R, P> time) &&
    {
        return std::move(retention(time));
    }
    /** Whether all versions are kept for ever. Default no. */
    table_options &retention_all(bool yes = true) &
    {
        this->set(atomkv_table_options_set_retention_all(handle(), yes ? 1 : 0));
        return *this;
    }
    /** The same, of a temporary. */
    table_options &&retention_all(bool yes = true) && { return std::move(retention_all(yes)); }
    /** How long documents live whose write does not say; at least a millisecond. Default for ever. */
    template <class R, class P> table_options &ttl(std::chrono::duration<R, P> time) &
    {
        this->set(atomkv_table_options_set_ttl_ms(handle(), detail::milliseconds(time)));
        return *this;
    }
    /** The same, of a temporary. */
    template <class R, class P> table_options &&ttl(std::chrono::duration<R, P> time) &&
    {
        return std::move(ttl(time));
    }
    /** Chooses one of AtomKV's own services, such as "compressor" and "gzip"; see atomkv_table_options_set_service. */
    table_options &service(const std::string &kind, const std::string &name) &
    {
        if (detail::has_nul(kind) || detail::has_nul(name)) {
            this->refuse(detail::has_nul(kind) ? kind : name);
            return *this;
        }
        this->set(atomkv_table_options_set_service(handle(), kind.c_str(), name.c_str()));
        return *this;
    }
    /** The same, of a temporary. */
    table_options &&service(const std::string &kind, const std::string &name) &&
    {
        return std::move(service(kind, name));
    }
};

/** How a single write happens. May be used for many writes. */
class write_options : public detail::builder<atomkv_write_options, atomkv_write_options_free> {
public:
    /** The defaults. */
    write_options() : builder(atomkv_write_options_new()) {}

    /** When the write is on stable storage. Default as the table says. */
    write_options &durability(atomkv::durability how) &
    {
        this->set(atomkv_write_options_set_durability(handle(), static_cast<std::int32_t>(how)));
        return *this;
    }
    /** The same, of a temporary. */
    write_options &&durability(atomkv::durability how) && { return std::move(durability(how)); }
    /** What must be there for the write to happen, else it is ATOMKV_ERR_CONFLICT. */
    write_options &expect(atomkv::expect what) &
    {
        this->set(atomkv_write_options_set_expect(handle(), what.what(), what.number()));
        return *this;
    }
    /** The same, of a temporary. */
    write_options &&expect(atomkv::expect what) && { return std::move(expect(what)); }
    /** The document expires so long after the write; at least a millisecond. */
    template <class R, class P> write_options &ttl(std::chrono::duration<R, P> time) &
    {
        this->set(atomkv_write_options_set_ttl_ms(handle(), detail::milliseconds(time)));
        return *this;
    }
    /** The same, of a temporary. */
    template <class R, class P> write_options &&ttl(std::chrono::duration<R, P> time) &&
    {
        return std::move(ttl(time));
    }
    /** The document expires at this moment. */
    template <class D> write_options &expires_at(std::chrono::time_point<std::chrono::system_clock, D> time) &
    {
        this->set(atomkv_write_options_set_expires_at_ms(handle(), detail::milliseconds(time.time_since_epoch())));
        return *this;
    }
    /** The same, of a temporary. */
    template <class D> write_options &&expires_at(std::chrono::time_point<std::chrono::system_clock, D> time) &&
    {
        return std::move(expires_at(time));
    }
    /** The document does not expire, also where the table has a time to live. */
    write_options &never_expires() &
    {
        this->set(atomkv_write_options_set_expires_at_ms(handle(), ATOMKV_NEVER));
        return *this;
    }
    /** The same, of a temporary. */
    write_options &&never_expires() && { return std::move(never_expires()); }
};

/** Which keys a scan is for, and how it goes through them. May be used for several scans. */
class scan_options : public detail::builder<atomkv_scan_options, atomkv_scan_options_free> {
public:
    /** The defaults. */
    scan_options() : builder(atomkv_scan_options_new()) {}

    /** Only keys that are not below `key`, or, without `inclusive`, above it. Takes the place of a prefix. */
    scan_options &low(bytes key, bool inclusive = true) &
    {
        this->set(atomkv_scan_options_set_low(handle(), key.data(), key.size(), inclusive ? 1 : 0));
        return *this;
    }
    /** The same, of a temporary. */
    scan_options &&low(bytes key, bool inclusive = true) && { return std::move(low(key, inclusive)); }
    /** Only keys below `key`, or, with `inclusive`, not above it. Takes the place of a prefix. */
    scan_options &high(bytes key, bool inclusive = false) &
    {
        this->set(atomkv_scan_options_set_high(handle(), key.data(), key.size(), inclusive ? 1 : 0));
        return *this;
    }
    /** The same, of a temporary. */
    scan_options &&high(bytes key, bool inclusive = false) && { return std::move(high(key, inclusive)); }
    /** Only keys that begin so. Takes the place of a range. */
    scan_options &prefix(bytes key) &
    {
        this->set(atomkv_scan_options_set_prefix(handle(), key.data(), key.size()));
        return *this;
    }
    /** The same, of a temporary. */
    scan_options &&prefix(bytes key) && { return std::move(prefix(key)); }
    /** Only keys in which these bytes occur. */
    scan_options &contains(bytes key) &
    {
        this->set(atomkv_scan_options_set_contains(handle(), key.data(), key.size()));
        return *this;
    }
    /** The same, of a temporary. */
    scan_options &&contains(bytes key) && { return std::move(contains(key)); }
    /** Only keys that match a pattern of `*`, `?`, `[a-c]` and `[!a-c]` as a whole. */
    scan_options &glob(bytes key) &
    {
        this->set(atomkv_scan_options_set_glob(handle(), key.data(), key.size()));
        return *this;
    }
    /** The same, of a temporary. */
    scan_options &&glob(bytes key) && { return std::move(glob(key)); }
    /** From the last key to the first; only of ordered tables. Default no. */
    scan_options &reverse(bool yes = true) &
    {
        this->set(atomkv_scan_options_set_reverse(handle(), yes ? 1 : 0));
        return *this;
    }
    /** The same, of a temporary. */
    scan_options &&reverse(bool yes = true) && { return std::move(reverse(yes)); }
    /** No more than so many keys. Default no limit. */
    scan_options &limit(std::uint64_t keys) &
    {
        this->set(atomkv_scan_options_set_limit(handle(), keys));
        return *this;
    }
    /** The same, of a temporary. */
    scan_options &&limit(std::uint64_t keys) && { return std::move(limit(keys)); }
    /** Without values, which are empty then. Default no. */
    scan_options &keys_only(bool yes = true) &
    {
        this->set(atomkv_scan_options_set_keys_only(handle(), yes ? 1 : 0));
        return *this;
    }
    /** The same, of a temporary. */
    scan_options &&keys_only(bool yes = true) && { return std::move(keys_only(yes)); }
    /** Whether the scan will be continued by iteration::page_token. Default no. */
    scan_options &paged(bool yes = true) &
    {
        this->set(atomkv_scan_options_set_paged(handle(), yes ? 1 : 0));
        return *this;
    }
    /** The same, of a temporary. */
    scan_options &&paged(bool yes = true) && { return std::move(paged(yes)); }
    /** Goes on behind the last key of an earlier scan: what iteration::page_token has told. */
    scan_options &after(bytes key) &
    {
        this->set(atomkv_scan_options_set_after(handle(), key.data(), key.size()));
        return *this;
    }
    /** The same, of a temporary. */
    scan_options &&after(bytes key) && { return std::move(after(key)); }
};

/** Which changes a watch is for. May be used for several watches. */
class watch_options : public detail::builder<atomkv_watch_options, atomkv_watch_options_free> {
public:
    /** The defaults. */
    watch_options() : builder(atomkv_watch_options_new()) {}

    /** Only changes of this table, and of others that are named so. */
    watch_options &table(const atomkv::table &only) &;
    /** The same, of a temporary. */
    watch_options &&table(const atomkv::table &only) && { return std::move(table(only)); }
    /** Only changes of keys that begin so. */
    watch_options &prefix(bytes key) &
    {
        this->set(atomkv_watch_options_set_prefix(handle(), key.data(), key.size()));
        return *this;
    }
    /** The same, of a temporary. */
    watch_options &&prefix(bytes key) && { return std::move(prefix(key)); }
    /** From this commit on, itself included, instead of from now on. */
    watch_options &from(std::uint64_t sequence) &
    {
        this->set(atomkv_watch_options_set_from(handle(), sequence));
        return *this;
    }
    /** The same, of a temporary. */
    watch_options &&from(std::uint64_t sequence) && { return std::move(from(sequence)); }
    /** Whether all documents that are there come first, as change_kind::state. Default no. */
    watch_options &state_first(bool yes = true) &
    {
        this->set(atomkv_watch_options_set_state_first(handle(), yes ? 1 : 0));
        return *this;
    }
    /** The same, of a temporary. */
    watch_options &&state_first(bool yes = true) && { return std::move(state_first(yes)); }
};

/** How to import, export and dump. May be used for several calls. */
class transfer_options : public detail::builder<atomkv_transfer_options, atomkv_transfer_options_free> {
public:
    /** The defaults. */
    transfer_options() : builder(atomkv_transfer_options_new()) {}

    /** Sets one option by its name; atomkv_transfer_options_set lists them. */
    transfer_options &set(const std::string &name, const std::string &value) &
    {
        if (detail::has_nul(name) || detail::has_nul(value)) {
            this->refuse(detail::has_nul(name) ? name : value);
            return *this;
        }
        builder::set(atomkv_transfer_options_set(handle(), name.c_str(), value.c_str()));
        return *this;
    }
    /** The same, of a temporary. */
    transfer_options &&set(const std::string &name, const std::string &value) && { return std::move(set(name, value)); }
    /** Which keys an export is for, and in which order. */
    transfer_options &scan(const scan_options &keys) &;
    /** The same, of a temporary. */
    transfer_options &&scan(const scan_options &keys) && { return std::move(scan(keys)); }
    /** Keeps an import's position in the database itself, under a key of a table of its own. */
    transfer_options &bookmark(const atomkv::table &in, bytes key) &;
    /** The same, of a temporary. */
    transfer_options &&bookmark(const atomkv::table &in, bytes key) && { return std::move(bookmark(in, key)); }
    /** Dumps this table, and others that are named so, instead of all. */
    transfer_options &table(const std::string &name) &;
    /** The same, of a temporary. */
    transfer_options &&table(const std::string &name) && { return std::move(table(name)); }
    /** With which services a table of a dump is opened, where they are not AtomKV's own. */
    transfer_options &services(const std::string &name, const table_options &with) &;
    /** The same, of a temporary. */
    transfer_options &&services(const std::string &name, const table_options &with) &&
    {
        return std::move(services(name, with));
    }
};

/** What came of a call: numbers with names, in range-for too, and all of it as JSON. */
class report : public unique_handle<atomkv_report, atomkv_report_free> {
public:
    using unique_handle::unique_handle;
    /** Goes over the numbers. */
    using iterator = detail::index_iterator<report>;

    /** One of the numbers by its name. */
    result<std::uint64_t> value(const std::string &name) const
    {
        std::uint64_t number = 0;
        if (detail::has_nul(name))
            return detail::fail<std::uint64_t>(detail::nul_error(name));
        const auto status = atomkv_report_value(handle(), name.c_str(), &number);
        return detail::done(status, number);
    }
    /** How many numbers there are; found by going over them. */
    std::size_t size() const noexcept
    {
        std::size_t count = 0;
        while (atomkv_report_at(handle(), count, nullptr, nullptr) == ATOMKV_OK)
            count++;
        return count;
    }
    /** One of the numbers, `index` below size(). */
    figure operator[](std::size_t index) const noexcept
    {
        const char *name = nullptr;
        std::uint64_t number = 0;
        (void)atomkv_report_at(handle(), index, &name, &number);
        return {name != nullptr ? std::string_view(name) : std::string_view(), number};
    }
    /** The first number. */
    iterator begin() const noexcept { return {this, 0}; }
    /** Behind the last number. */
    iterator end() const noexcept { return {this, size()}; }
    /** The whole report as a JSON object; lives as long as the report. */
    std::string_view json() const noexcept { return atomkv_report_json(handle()); }
};

/** Who follows a long call, and can end it, also from another thread. For one call after the other. */
class progress : public unique_handle<atomkv_progress, atomkv_progress_free> {
public:
    /** Without a callback: to be looked at and cancelled from other threads. */
    progress() : unique_handle(atomkv_progress_new()) {}

    /**
     * With a callback: `f(const progress_values &)` is called some times a second and once at the end, on the thread of
     * the call that it follows. It returns nothing, or false to end the call with ATOMKV_ERR_CANCELLED. What it throws
     * comes out of the call.
     */
    template <class F, class = std::enable_if_t<std::is_invocable_v<F &, const progress_values &>>>
    explicit progress(F f) : progress()
    {
        auto context = std::make_unique<callback<F>>(std::move(f));
        pending_ = context.get();
        // It fails only without a handle or a callback, and would call destroy then.
        (void)atomkv_progress_set_callback(handle(), &callback<F>::call, context.release(), &callback<F>::destroy);
    }

    /** How far the call is that uses it, or how far the last one came. */
    progress_values values() const noexcept
    {
        progress_values values{};
        (void)atomkv_progress_get(handle(), &values);
        return values;
    }
    /** Ends the call that uses it, and every later one until it is called with false. From any thread. */
    void cancel(bool yes = true) noexcept { (void)atomkv_progress_cancel(handle(), yes ? 1 : 0); }

private:
    friend class watcher;
    template <class F> struct callback : detail::pending {
        explicit callback(F &&function) : f(std::move(function)) {}
        static std::int32_t call(void *context, const progress_values *values)
        {
            auto *self = static_cast<callback *>(context);
            return self->guard([&] { return detail::goes_on(self->f, *values); });
        }
        static void destroy(void *context) { delete static_cast<callback *>(context); }
        F f;
    };
    detail::pending *pending_ = nullptr;
};

/** Who is told how far a call is: nobody, a progress, or a function as the constructor of progress takes it. */
class watcher {
public:
    /** Nobody. */
    watcher() noexcept = default;
    /** This one, which must outlive the call. */
    watcher(progress &follows) noexcept : progress_(&follows) {}
    /** A function, for this call. */
    template <class F, class = std::enable_if_t<std::is_invocable_v<F &, const progress_values &>>>
    watcher(F f) : own_(std::in_place, std::move(f)), progress_(&*own_)
    {
    }
    watcher(const watcher &) = delete;
    watcher &operator=(const watcher &) = delete;

    /** For calls of atomkv.h. */
    atomkv_progress *handle() const noexcept { return progress_ != nullptr ? progress_->handle() : nullptr; }
    /** Why no call can be followed: the progress was moved from. nullptr if one can. */
    const error *failure() const
    {
        const bool is_empty = progress_ != nullptr && !*progress_;
        return is_empty ? &detail::empty_error() : nullptr;
    }
    /** Throws what the function has thrown. */
    void rethrow() const
    {
        if (progress_ != nullptr && *progress_ && progress_->pending_ != nullptr)
            progress_->pending_->rethrow();
    }

private:
    std::optional<progress> own_;
    progress *progress_ = nullptr;
};

/** Where exports, dumps and backups are written to. */
class output : public unique_handle<atomkv_output, atomkv_output_free> {
public:
    using unique_handle::unique_handle;

    /** A new file; one that exists is ATOMKV_ERR_ALREADY_EXISTS. */
    static result<output> file(const std::string &path)
    {
        if (detail::has_nul(path))
            return detail::fail<output>(detail::nul_error(path));
        atomkv_output *raw = nullptr;
        const auto status = atomkv_output_file(path.c_str(), &raw);
        return detail::done(status, output(raw));
    }
    /** Memory, taken by take(). */
    static output memory() { return output(atomkv_output_memory()); }
    /**
     * A function: `f(std::string_view)` takes the next bytes, on the thread of the call that writes. It returns
     * nothing, or false to end the call with ATOMKV_ERR_CALLBACK. What it throws comes out of the call.
     */
    template <class F> static result<output> callback(F f)
    {
        auto context = std::make_unique<sink<F>>(std::move(f));
        auto *waiting = context.get();
        atomkv_output *raw = nullptr;
        const auto status = atomkv_output_callback(&sink<F>::call, context.release(), &sink<F>::destroy, &raw);
        output made(raw);
        made.pending_ = waiting;
        return detail::done(status, std::move(made));
    }
    /** Takes what was written to memory so far. */
    result<std::string> take()
    {
        detail::owned data;
        const auto status = atomkv_output_take(handle(), data.out());
        return detail::done(status, data.string());
    }
    /** Throws what the function has thrown; the calls that write do. */
    void rethrow() const
    {
        if (*this && pending_ != nullptr)
            pending_->rethrow();
    }

private:
    template <class F> struct sink : detail::pending {
        explicit sink(F &&function) : f(std::move(function)) {}
        static std::int32_t call(void *context, const void *data, std::size_t size)
        {
            auto *self = static_cast<sink *>(context);
            return self->guard(
                [&] { return detail::goes_on(self->f, std::string_view(static_cast<const char *>(data), size)); });
        }
        static void destroy(void *context) { delete static_cast<sink *>(context); }
        F f;
    };
    detail::pending *pending_ = nullptr;
};

/** Where imports, dumps and backups are read from, once and from the beginning. */
class input : public unique_handle<atomkv_input, atomkv_input_free> {
public:
    using unique_handle::unique_handle;

    /** A file. */
    static result<input> file(const std::string &path)
    {
        if (detail::has_nul(path))
            return detail::fail<input>(detail::nul_error(path));
        atomkv_input *raw = nullptr;
        const auto status = atomkv_input_file(path.c_str(), &raw);
        return detail::done(status, input(raw));
    }
    /** Memory, which is copied. */
    static result<input> memory(bytes data)
    {
        atomkv_input *raw = nullptr;
        const auto status = atomkv_input_memory(data.data(), data.size(), &raw);
        return detail::done(status, input(raw));
    }
    /**
     * A function: `f(char *buffer, std::size_t size)` stores up to `size` bytes and returns how many, as a std::size_t;
     * 0 at the end. Or a std::optional of it, empty to end the call with ATOMKV_ERR_CALLBACK. It is called on the
     * thread of the call that reads. What it throws comes out of the call.
     */
    template <class F> static result<input> callback(F f)
    {
        auto context = std::make_unique<source<F>>(std::move(f));
        auto *waiting = context.get();
        atomkv_input *raw = nullptr;
        const auto status = atomkv_input_callback(&source<F>::call, context.release(), &source<F>::destroy, &raw);
        input made(raw);
        made.pending_ = waiting;
        return detail::done(status, std::move(made));
    }
    /** Throws what the function has thrown; the calls that read do. */
    void rethrow() const
    {
        if (*this && pending_ != nullptr)
            pending_->rethrow();
    }

private:
    template <class F> struct source : detail::pending {
        explicit source(F &&function) : f(std::move(function)) {}
        static std::int32_t call(void *context, void *buffer, std::size_t size, std::size_t *read)
        {
            auto *self = static_cast<source *>(context);
            return self->guard([&] {
                const std::optional<std::size_t> count = self->f(static_cast<char *>(buffer), size);
                *read = count.value_or(0);
                return count.has_value();
            });
        }
        static void destroy(void *context) { delete static_cast<source *>(context); }
        F f;
    };
    detail::pending *pending_ = nullptr;
};

/// @cond details
namespace detail {

// Throws what the first one's function has thrown, else the second one's; what is not told is forgotten, so that it does
// not come out of a later call.
template <class First, class Second> void rethrow(const First *first, const Second *second)
{
#ifndef ATOMKV_NO_EXCEPTIONS
    try {
        if (first != nullptr)
            first->rethrow();
    } catch (...) {
        try {
            if (second != nullptr)
                second->rethrow();
        } catch (...) {
        }
        throw;
    }
    if (second != nullptr)
        second->rethrow();
#else
    (void)first, (void)second;
#endif
}

// A call that hands over a report and the details of its failure, of which the report becomes a part.
template <class Call, class Channel = input>
result<report> reporting(Call &&call, const watcher *follows = nullptr, const Channel *channel = nullptr)
{
    if (const auto *bad = follows != nullptr ? follows->failure() : nullptr)
        return fail<report>(*bad);
    atomkv_report *raw = nullptr;
    error_slot slot;
    const std::int32_t status = call(&raw, slot.out());
    report made(raw);
    rethrow(follows, channel);
    if (status < 0) {
        std::shared_ptr<const report> kept;
        if (made)
            kept = std::make_shared<const report>(std::move(made));
        return fail<report>(make_error(status, slot.get(), std::move(kept)));
    }
    return made;
}

} // namespace detail
/// @endcond

/** A value that is held where it lies, without a copy where that is possible. It stays readable whatever happens. */
class view : public unique_handle<atomkv_view, atomkv_view_release> {
public:
    /** Empty. */
    view() noexcept = default;
    /** Takes a view over, with its bytes. */
    view(atomkv_view *taken, const atomkv_slice &value) noexcept : unique_handle(taken), value_(detail::text(value)) {}

    /** The value; lives as long as this, or what this was moved to. */
    std::string_view value() const noexcept { return value_; }
    /** The value. */
    operator std::string_view() const noexcept { return value_; }
    /** The write that stored it. */
    atomkv::written written() const noexcept
    {
        atomkv::written stored{};
        (void)atomkv_view_written(handle(), &stored);
        return stored;
    }

private:
    std::string_view value_;
};

/** The versions of one document that are kept, the newest first; in range-for too. It does not need its database. */
class history : public unique_handle<atomkv_history, atomkv_history_free> {
public:
    using unique_handle::unique_handle;
    /** Goes over the versions. */
    using iterator = detail::index_iterator<history>;

    /** How many versions there are. */
    std::size_t size() const noexcept
    {
        std::size_t count = 0;
        (void)atomkv_history_len(handle(), &count);
        return count;
    }
    /** Whether there are none. */
    bool empty() const noexcept { return size() == 0; }
    /** One of the versions, `index` below size(); 0 is the newest. */
    past_document operator[](std::size_t index) const noexcept
    {
        atomkv_slice value{};
        atomkv_entry about{};
        (void)atomkv_history_at(handle(), index, &value, &about);
        return {detail::text(value), detail::entry_of(about)};
    }
    /** The newest version. */
    iterator begin() const noexcept { return {this, 0}; }
    /** Behind the oldest version. */
    iterator end() const noexcept { return {this, size()}; }
};

/** Memory for the results of calls that give many; it keeps its size from call to call. One thread at a time. */
class arena : public unique_handle<atomkv_arena, atomkv_arena_free> {
public:
    /** Empty. */
    arena() : unique_handle(atomkv_arena_new()) {}

private:
    friend class values;
    friend class items;
    friend class table;
    friend class snapshot;
    friend class iteration;
    void reserve(std::size_t count)
    {
        keys_.resize(count);
        values_.resize(count);
    }
    std::vector<atomkv_slice> keys_;
    std::vector<atomkv_slice> values_;
};

/** What get_many has found, in the order of its keys; in range-for too. Lives until its arena is used again. */
class values {
public:
    /** Goes over the values. */
    using iterator = detail::index_iterator<values>;

    /** As many as there were keys. */
    std::size_t size() const noexcept { return size_; }
    /** The value of a key, `index` below size(); nothing if the key is not there. */
    std::optional<std::string_view> operator[](std::size_t index) const noexcept
    {
        return detail::optional_text(arena_->values_[index]);
    }
    /** The value of the first key. */
    iterator begin() const noexcept { return {this, 0}; }
    /** Behind the value of the last key. */
    iterator end() const noexcept { return {this, size_}; }

private:
    friend class table;
    friend class snapshot;
    values(const arena *in, std::size_t size) noexcept : arena_(in), size_(size) {}
    const arena *arena_;
    std::size_t size_;
};

/** What iteration::next_many has found; in range-for too. Lives until its arena is used again. */
class items {
public:
    /** Goes over the keys with their values. */
    using iterator = detail::index_iterator<items>;

    /** How many there are. */
    std::size_t size() const noexcept { return size_; }
    /** Whether there are none: the iteration is at its end. */
    bool empty() const noexcept { return size_ == 0; }
    /** A key with its value, `index` below size(). */
    item operator[](std::size_t index) const noexcept
    {
        return {detail::text(arena_->keys_[index]), detail::text(arena_->values_[index])};
    }
    /** The first. */
    iterator begin() const noexcept { return {this, 0}; }
    /** Behind the last. */
    iterator end() const noexcept { return {this, size_}; }

private:
    friend class iteration;
    items(const arena *in, std::size_t size) noexcept : arena_(in), size_(size) {}
    const arena *arena_;
    std::size_t size_;
};

/**
 * An iteration over a table, in range-for: `for (auto [key, value] : users.scan())`. It is gone through once; a second
 * range-for goes on where the first one ended. Keys and values live until the next step.
 */
class iteration : public unique_handle<atomkv_iter, atomkv_iter_free> {
public:
    using unique_handle::unique_handle;

    /** A place in the iteration; steps of it are steps of all. */
    class iterator {
    public:
        /** Steps forward, once. */
        using iterator_category = std::input_iterator_tag;
        /** Of no use. */
        using difference_type = std::ptrdiff_t;
        /** A key with its value. */
        using value_type = item;
        /** What it shows. */
        using reference = const item &;
        /** What it shows. */
        using pointer = const item *;

        /** The end. */
        iterator() noexcept = default;
        /** The key with its value. */
        reference operator*() const noexcept { return owner_->item_; }
        /** The key with its value. */
        pointer operator->() const noexcept { return &owner_->item_; }
        /** To the next key. A damaged record throws, or ends the loop; see iteration::failure. */
        iterator &operator++()
        {
            owner_ = owner_->step() ? owner_ : nullptr;
            return *this;
        }
        /** To the next key. */
        void operator++(int) { ++*this; }
        /** Whether both are at the end, or neither. */
        friend bool operator==(const iterator &a, const iterator &b) noexcept { return a.owner_ == b.owner_; }
        /** Whether one is at the end. */
        friend bool operator!=(const iterator &a, const iterator &b) noexcept { return a.owner_ != b.owner_; }

    private:
        friend class iteration;
        explicit iterator(iteration *owner) noexcept : owner_(owner) {}
        iteration *owner_ = nullptr;
    };

    /** Goes to the next key and shows it. This must not be moved while iterators are used. */
    iterator begin() { return iterator(step() ? this : nullptr); }
    /** The end. */
    iterator end() noexcept { return {}; }

    /** Goes to the next key; nothing at the end. After ATOMKV_ERR_CORRUPT the next call goes on behind the damage. */
    result<std::optional<item>> next()
    {
        atomkv_slice key{};
        atomkv_slice value{};
        const auto status = atomkv_iter_next(handle(), &key, &value, &written_);
        return detail::found(status, item{detail::text(key), detail::text(value)});
    }
    /**
     * Goes over up to `count` keys at once, with about `size` bytes at most; 0 for 1 MiB. None at the end. Cheaper for
     * each key than next().
     */
    result<items> next_many(arena &into, std::size_t count, std::size_t size = 0)
    {
        into.reserve(count);
        std::size_t found = 0;
        const auto status = atomkv_iter_next_many(handle(), into.handle(), count, size, into.keys_.data(),
                                                  into.values_.data(), nullptr, &found);
        return detail::done(status, items(&into, found));
    }
    /** The write that stored the document at which next() or range-for stands; zeros in a transaction. */
    atomkv::written written() const noexcept { return written_; }
    /** What is known of the document at which it stands; nothing if it stands at none. */
    result<std::optional<atomkv::entry>> entry() const
    {
        atomkv_entry about{};
        const auto status = atomkv_iter_entry(handle(), &about);
        return detail::found(status, detail::entry_of(about));
    }
    /** Where a later scan goes on, for scan_options::after; nothing if it cannot be continued from here. */
    result<std::optional<std::string>> page_token() const
    {
        detail::owned token;
        const auto status = atomkv_iter_page_token(handle(), token.out());
        return detail::found(status, token.string());
    }
    /** Why the last range-for has ended before the end, with ATOMKV_NO_EXCEPTIONS; nothing if it has not. */
    const std::optional<error> &failure() const noexcept { return failure_; }

private:
    bool step()
    {
        failure_.reset();
#ifdef ATOMKV_NO_EXCEPTIONS
        auto found = next();
        if (!found.ok()) {
            failure_ = found.error();
            return false;
        }
        const auto &got = found.value();
#else
        const auto got = next();
#endif
        if (got)
            item_ = *got;
        return got.has_value();
    }
    item item_{};
    atomkv::written written_{};
    std::optional<error> failure_;
};

/** A document of up to 1 TiB that is being written. One that is not finished is forgotten. */
class writer : public unique_handle<atomkv_writer, atomkv_writer_free> {
public:
    using unique_handle::unique_handle;

    /** Appends bytes. After a failure the writer can only be destroyed. */
    result<void> append(bytes data) { return detail::done(atomkv_writer_append(handle(), data.data(), data.size())); }
    /** Stores the document as a whole; the writer has ended then. */
    result<written> finish() { return finish_with(nullptr); }
    /** The same with durability, expectation and expiry. */
    result<written> finish(const write_options &options)
    {
        if (const auto *bad = options.failure())
            return detail::fail<written>(*bad);
        return finish_with(options.handle());
    }

private:
    result<written> finish_with(const atomkv_write_options *options)
    {
        written stored{};
        detail::error_slot slot;
        const auto status = atomkv_writer_finish(handle(), options, &stored, slot.out());
        return detail::done(status, slot, stored);
    }
};

/** A document that is read by parts, as it was when the reader was opened. Any thread, many at once. */
class reader : public unique_handle<atomkv_reader, atomkv_reader_free> {
public:
    using unique_handle::unique_handle;

    /** The length of the document in bytes. */
    result<std::uint64_t> size() const
    {
        std::uint64_t length = 0;
        const auto status = atomkv_reader_len(handle(), &length, nullptr);
        return detail::done(status, length);
    }
    /** The write that stored it. */
    result<atomkv::written> written() const
    {
        atomkv::written stored{};
        const auto status = atomkv_reader_len(handle(), nullptr, &stored);
        return detail::done(status, stored);
    }
    /** Reads from `offset` into `buffer`, up to `size` bytes, and says how many; less than `size` only at the end. */
    result<std::size_t> read(std::uint64_t offset, void *buffer, std::size_t size) const
    {
        std::size_t read = 0;
        const auto status = atomkv_reader_read(handle(), offset, buffer, size, &read);
        return detail::done(status, read);
    }
};

/** A time in which the background does not compact; ends with this. */
class compaction_pause : public unique_handle<atomkv_compaction_pause, atomkv_compaction_pause_free> {
public:
    using unique_handle::unique_handle;
};

/** A place in the history of a database, from which it is read on. */
class watch : public unique_handle<atomkv_watch, atomkv_watch_free> {
public:
    using unique_handle::unique_handle;

    /**
     * Waits for the next change, at most for `timeout`; nothing if there was none. Zero or less does not wait. Closing
     * the database interrupts it.
     */
    template <class R, class P> result<std::optional<change>> next(std::chrono::duration<R, P> timeout)
    {
        atomkv_change from{};
        const auto status = atomkv_watch_next(handle(), detail::milliseconds(timeout), &from);
        return detail::found(status, change{detail::text(from.table), detail::text(from.key),
                                            detail::optional_text(from.value), from.version, from.sequence,
                                            detail::moment(from.time_ms), detail::expiry(from.expires_at_ms),
                                            static_cast<change_kind>(from.kind), from.superseded != 0,
                                            from.last_of_commit != 0});
    }
    /** From which sequence a later watch goes on where this one is, for watch_options::from. */
    result<std::uint64_t> resume_from() const
    {
        std::uint64_t sequence = 0;
        const auto status = atomkv_watch_resume_from(handle(), &sequence);
        return detail::done(status, sequence);
    }
};

/** What the function of table::update decides: a new value (any string), to erase, to keep, or to give up. */
class decision {
public:
    /** The document gets this value. */
    decision(std::string value) : value_(std::move(value)), kind_(kind::put) {}
    /** The document gets this value, which is copied. */
    static decision put(bytes value) { return decision(std::string(std::string_view(value))); }
    /** The document is deleted, if it is there. */
    static decision erase() { return decision(kind::erase); }
    /** The document stays as it is. */
    static decision keep() { return decision(kind::keep); }
    /** Nothing happens, and the call is ATOMKV_ERR_CALLBACK. */
    static decision refuse() { return decision(kind::refuse); }

private:
    friend class table;
    enum class kind { put, erase, keep, refuse };
    explicit decision(kind what) : kind_(what) {}
    // Whether the call goes on.
    bool tell(atomkv_update_result *result) const
    {
        switch (kind_) {
        case kind::put:
            return atomkv_update_put(result, value_.data(), value_.size()) == ATOMKV_OK;
        case kind::erase:
            return atomkv_update_delete(result) == ATOMKV_OK;
        case kind::keep:
            return true;
        case kind::refuse:
            break;
        }
        return false;
    }
    std::string value_;
    kind kind_;
};

/** A table of an open database. Any thread, many at once. */
class table : public unique_handle<atomkv_table, atomkv_table_free> {
public:
    using unique_handle::unique_handle;

    /** The name. */
    result<std::string> name() const
    {
        detail::owned name;
        const auto status = atomkv_table_name(handle(), name.out());
        return detail::done(status, name.string());
    }
    /** The number of keys. */
    result<std::uint64_t> size() const
    {
        std::uint64_t keys = 0;
        const auto status = atomkv_table_len(handle(), &keys);
        return detail::done(status, keys);
    }
    /** The number of partitions. */
    result<std::uint32_t> partitions() const
    {
        std::uint32_t count = 0;
        const auto status = atomkv_table_partitions(handle(), &count);
        return detail::done(status, count);
    }
    /** The key's slot, 0 to 16,383, which never changes. */
    result<std::uint32_t> slot(bytes key) const
    {
        std::uint32_t slot = 0;
        const auto status = atomkv_slot(handle(), key.data(), key.size(), &slot, nullptr);
        return detail::done(status, slot);
    }
    /** The partition that holds the key now, from 0. */
    result<std::uint32_t> partition(bytes key) const
    {
        std::uint32_t partition = 0;
        const auto status = atomkv_slot(handle(), key.data(), key.size(), nullptr, &partition);
        return detail::done(status, partition);
    }

    /** The value of a key; nothing if it is not there. */
    result<std::optional<std::string>> get(bytes key) const
    {
        detail::owned value;
        const auto status = atomkv_get_owned(handle(), key.data(), key.size(), value.out());
        return detail::found(status, value.string());
    }
    /** The value of a key; an error with ATOMKV_NOT_FOUND if it is not there. */
    result<std::string> at(bytes key) const
    {
        detail::owned value;
        const auto status = atomkv_get_owned(handle(), key.data(), key.size(), value.out());
        if (status != ATOMKV_OK)
            return detail::fail<std::string>(detail::make_error(status));
        return value.string();
    }
    /** The value of a key where it lies, without a copy where that is possible; nothing if the key is not there. */
    result<std::optional<atomkv::view>> view(bytes key) const
    {
        atomkv_view *raw = nullptr;
        atomkv_slice value{};
        const auto status = atomkv_get_view(handle(), key.data(), key.size(), &raw, &value);
        return detail::found(status, atomkv::view(raw, value));
    }
    /**
     * Copies the value of a key into `buffer` and tells its size; nothing if the key is not there. If that is more than
     * `size`, the buffer is as it was.
     */
    result<std::optional<std::size_t>> read(bytes key, void *buffer, std::size_t size) const
    {
        std::size_t needed = 0;
        auto status = atomkv_get(handle(), key.data(), key.size(), buffer, size, &needed);
        if (status == ATOMKV_ERR_BUFFER_TOO_SMALL)
            status = ATOMKV_OK;
        return detail::found(status, needed);
    }
    /** The value of a key with version, sequence and times; nothing if the key is not there. */
    result<std::optional<document>> get_document(bytes key) const
    {
        detail::owned value;
        atomkv_entry about{};
        const auto status = atomkv_get_entry(handle(), key.data(), key.size(), value.out(), &about);
        return detail::found(status, document{value.string(), detail::entry_of(about)});
    }
    /** Version, sequence and times of a key, without its value; nothing if the key is not there. */
    result<std::optional<atomkv::entry>> entry(bytes key) const
    {
        atomkv_entry about{};
        const auto status = atomkv_get_entry(handle(), key.data(), key.size(), nullptr, &about);
        return detail::found(status, detail::entry_of(about));
    }
    /** One version of a document, of those that the table keeps. */
    result<document> get_version(bytes key, std::uint64_t version) const
    {
        detail::owned value;
        atomkv_entry about{};
        const auto status = atomkv_get_version(handle(), key.data(), key.size(), version, value.out(), &about);
        return detail::done(status, document{value.string(), detail::entry_of(about)});
    }
    /** The version that was there after a commit, of those that the table keeps; nothing if there was none yet. */
    result<std::optional<document>> get_at(bytes key, std::uint64_t sequence) const
    {
        detail::owned value;
        atomkv_entry about{};
        const auto status = atomkv_get_at(handle(), key.data(), key.size(), sequence, value.out(), &about);
        return detail::found(status, document{value.string(), detail::entry_of(about)});
    }
    /** All versions of a document that the table keeps, the newest first. */
    result<atomkv::history> history(bytes key) const
    {
        atomkv_history *raw = nullptr;
        const auto status = atomkv_history_new(handle(), key.data(), key.size(), &raw);
        return detail::done(status, atomkv::history(raw));
    }
    /** Whether a key is there. */
    result<bool> contains(bytes key) const
    {
        return detail::is_ok(atomkv_contains(handle(), key.data(), key.size()));
    }
    /**
     * The values of many keys, faster than one by one. `keys`: anything in range-for whose elements bytes can be made
     * of; what they point to must live during the call, and not in the arena that it fills.
     */
    template <class Keys> result<values> get_many(const Keys &keys, arena &into) const
    {
        into.keys_.clear();
        for (const auto &key : keys)
            into.keys_.push_back(detail::slice(key));
        const auto count = into.keys_.size();
        into.reserve(count);
        const auto status = atomkv_get_many(handle(), into.keys_.data(), count, into.handle(), into.values_.data());
        return detail::done(status, values(&into, count));
    }
    /** The values of many keys: `get_many({"a", "b"}, arena)`. */
    result<values> get_many(std::initializer_list<bytes> keys, arena &into) const
    {
        return get_many<std::initializer_list<bytes>>(keys, into);
    }

    /** Stores a value under a key, whether or not the key is there. */
    result<written> put(bytes key, bytes value)
    {
        written stored{};
        const auto status = atomkv_put(handle(), key.data(), key.size(), value.data(), value.size(), &stored);
        return detail::done(status, stored);
    }
    /** The same with durability, expectation and expiry. */
    result<written> put(bytes key, bytes value, const write_options &options)
    {
        if (const auto *bad = options.failure())
            return detail::fail<written>(*bad);
        written stored{};
        const auto status = atomkv_put_with(handle(), key.data(), key.size(), value.data(), value.size(),
                                            options.handle(), &stored);
        return detail::done(status, stored);
    }
    /** Stores a value unless the key has this very value already; nothing if it was there. */
    result<std::optional<written>> put_if_changed(bytes key, bytes value)
    {
        written stored{};
        std::uint32_t changed = 0;
        auto status = atomkv_put_if_changed(handle(), key.data(), key.size(), value.data(), value.size(), &stored,
                                            &changed);
        if (status == ATOMKV_OK && changed == 0)
            status = ATOMKV_NOT_FOUND;
        return detail::found(status, stored);
    }
    /** Removes a key; nothing if it was not there. */
    result<std::optional<written>> erase(bytes key)
    {
        written stored{};
        const auto status = atomkv_delete(handle(), key.data(), key.size(), &stored);
        return detail::found(status, stored);
    }
    /** The same with durability and expectation. */
    result<std::optional<written>> erase(bytes key, const write_options &options)
    {
        if (const auto *bad = options.failure())
            return detail::fail<std::optional<written>>(*bad);
        written stored{};
        const auto status = atomkv_delete_with(handle(), key.data(), key.size(), options.handle(), &stored);
        return detail::found(status, stored);
    }
    /** Gives a document another expiry, which `options` must name; nothing if the key is not there. */
    result<std::optional<written>> set_expiry(bytes key, const write_options &options)
    {
        if (const auto *bad = options.failure())
            return detail::fail<std::optional<written>>(*bad);
        written stored{};
        const auto status = atomkv_set_expiry(handle(), key.data(), key.size(), options.handle(), &stored);
        return detail::found(status, stored);
    }
    /** Adds to a signed integer of 8 bytes, little-endian, and gives the sum; a key that is not there counts as 0. */
    result<std::int64_t> add_integer(bytes key, std::int64_t operand)
    {
        std::int64_t sum = 0;
        const auto status = atomkv_add_integer(handle(), key.data(), key.size(), operand, &sum, nullptr);
        return detail::done(status, sum);
    }
    /** Adds to a decimal integer that is stored as text, and gives the sum. */
    result<std::string> add_decimal(bytes key, bytes operand)
    {
        return merged(atomkv_add_decimal, key, operand);
    }
    /** Appends to a value, and gives the whole; a key that is not there counts as empty. */
    result<std::string> append(bytes key, bytes operand) { return merged(atomkv_append, key, operand); }
    /** Applies a JSON merge patch (RFC 7396), and gives the whole; a key that is not there counts as `null`. */
    result<std::string> merge_json(bytes key, bytes patch) { return merged(atomkv_merge_json, key, patch); }
    /**
     * Changes a document by a function of what is there: `f(std::optional<std::string_view>)` returns a decision, or
     * what one can be made of, such as a std::string. It is called again if somebody else has changed the document
     * meanwhile; what it throws comes out of this call, with nothing written, and so does that the value is too long.
     * Nothing if it has kept what is there.
     */
    template <class F> result<std::optional<written>> update(bytes key, F &&f)
    {
        using context_type = updating<std::remove_reference_t<F>>;
        context_type context(f);
        written stored{};
        const auto status =
            atomkv_update(handle(), key.data(), key.size(), &context_type::call, &context, &stored);
        context.rethrow();
        return detail::found(status, stored);
    }

    /** Goes over all keys with their values, as they are now; in the order of the keys if the table is ordered. */
    result<iteration> scan() const { return scan_with(nullptr); }
    /** Goes over some keys. */
    result<iteration> scan(const scan_options &options) const
    {
        if (const auto *bad = options.failure())
            return detail::fail<iteration>(*bad);
        return scan_with(options.handle());
    }

    /** Begins to write a document of up to 1 TiB. */
    result<atomkv::writer> writer(bytes key)
    {
        atomkv_writer *raw = nullptr;
        const auto status = atomkv_writer_new(handle(), key.data(), key.size(), &raw);
        return detail::done(status, atomkv::writer(raw));
    }
    /** Opens a document for reading by parts; nothing if the key is not there. */
    result<std::optional<atomkv::reader>> reader(bytes key) const
    {
        atomkv_reader *raw = nullptr;
        const auto status = atomkv_reader_new(handle(), key.data(), key.size(), &raw);
        return detail::found(status, atomkv::reader(raw));
    }

    /** Exports the table as it is now, as `options` say. */
    result<report> export_to(output &to, const transfer_options &options = {}, const watcher &follows = {}) const
    {
        if (const auto *bad = options.failure())
            return detail::fail<report>(*bad);
        return detail::reporting(
            [&](atomkv_report **made, atomkv_error **error) {
                return atomkv_export(handle(), options.handle(), to.handle(), follows.handle(), made, error);
            },
            &follows, &to);
    }
    /** Imports records, some thousands at a time. After a failure, error::report says where to go on. */
    result<report> import_from(input &from, const transfer_options &options = {}, const watcher &follows = {})
    {
        if (const auto *bad = options.failure())
            return detail::fail<report>(*bad);
        return detail::reporting(
            [&](atomkv_report **made, atomkv_error **error) {
                return atomkv_import(handle(), options.handle(), from.handle(), follows.handle(), made, error);
            },
            &follows, &from);
    }
    /** Gives the table another number of partitions, 1 to 16,384, while it is used. */
    result<report> resize(std::uint32_t partitions)
    {
        return detail::reporting([&](atomkv_report **made, atomkv_error **error) {
            return atomkv_table_resize(handle(), partitions, made, error);
        });
    }
    /** All statistics of the table. */
    result<report> stats() const
    {
        atomkv_report *raw = nullptr;
        const auto status = atomkv_table_stats(handle(), &raw);
        return detail::done(status, report(raw));
    }

private:
    template <class F> struct updating : detail::pending {
        explicit updating(F &function) : f(function) {}
        static std::int32_t call(void *context, const void *value, std::size_t size, atomkv_update_result *result)
        {
            auto *self = static_cast<updating *>(context);
            return self->guard([&] {
                const decision decided(self->f(detail::optional_text({value, size})));
                return decided.tell(result);
            });
        }
        F &f;
    };
    template <class Merge> result<std::string> merged(Merge merge, bytes key, bytes operand)
    {
        detail::owned whole;
        const auto status =
            merge(handle(), key.data(), key.size(), operand.data(), operand.size(), whole.out(), nullptr);
        return detail::done(status, whole.string());
    }
    result<iteration> scan_with(const atomkv_scan_options *options) const
    {
        atomkv_iter *raw = nullptr;
        const auto status = atomkv_iter_new(handle(), options, &raw);
        return detail::done(status, iteration(raw));
    }
};

/** Puts and deletes over any tables of one database that are applied together. */
class batch : public unique_handle<atomkv_batch, atomkv_batch_free> {
public:
    /** Empty. */
    batch() : unique_handle(atomkv_batch_new()) {}

    /** Adds a put. */
    result<void> put(table &in, bytes key, bytes value)
    {
        return detail::done(
            atomkv_batch_put(handle(), in.handle(), key.data(), key.size(), value.data(), value.size()));
    }
    /** Adds a put with expectation and expiry. */
    result<void> put(table &in, bytes key, bytes value, const write_options &options)
    {
        if (const auto *bad = options.failure())
            return detail::fail<void>(*bad);
        return detail::done(atomkv_batch_put_with(handle(), in.handle(), key.data(), key.size(), value.data(),
                                                  value.size(), options.handle()));
    }
    /** Adds a delete, whether or not the key is there. */
    result<void> erase(table &in, bytes key)
    {
        return detail::done(atomkv_batch_delete(handle(), in.handle(), key.data(), key.size()));
    }
    /** Adds a delete with expectation. */
    result<void> erase(table &in, bytes key, const write_options &options)
    {
        if (const auto *bad = options.failure())
            return detail::fail<void>(*bad);
        return detail::done(atomkv_batch_delete_with(handle(), in.handle(), key.data(), key.size(), options.handle()));
    }
    /** Makes the batch depend on a key that it need not change. */
    result<void> expect(const table &in, bytes key, atomkv::expect what)
    {
        return detail::done(
            atomkv_batch_expect(handle(), in.handle(), key.data(), key.size(), what.what(), what.number()));
    }
    /** The number of operations. */
    result<std::size_t> size() const
    {
        std::size_t operations = 0;
        const auto status = atomkv_batch_len(handle(), &operations);
        return detail::done(status, operations);
    }
    /** Empties it for reuse. */
    result<void> clear() { return detail::done(atomkv_batch_clear(handle())); }
};

/** All tables as they were at one moment. While it lives, the versions that it sees are kept. Any thread, at once. */
class snapshot : public unique_handle<atomkv_snapshot, atomkv_snapshot_free> {
public:
    using unique_handle::unique_handle;

    /** The last commit that it sees. */
    result<std::uint64_t> sequence() const
    {
        std::uint64_t sequence = 0;
        const auto status = atomkv_snapshot_sequence(handle(), &sequence, nullptr);
        return detail::done(status, sequence);
    }
    /** When it was taken. */
    result<time_point> time() const
    {
        std::uint64_t ms = 0;
        const auto status = atomkv_snapshot_sequence(handle(), nullptr, &ms);
        return detail::done(status, detail::moment(ms));
    }
    /** Whether a key was there. */
    result<bool> contains(const table &in, bytes key) const
    {
        return detail::is_ok(atomkv_snapshot_contains(handle(), in.handle(), key.data(), key.size()));
    }
    /** The value of a key; nothing if it was not there. */
    result<std::optional<std::string>> get(const table &in, bytes key) const
    {
        detail::owned value;
        const auto status =
            atomkv_snapshot_get_entry(handle(), in.handle(), key.data(), key.size(), value.out(), nullptr);
        return detail::found(status, value.string());
    }
    /** As table::read. */
    result<std::optional<std::size_t>> read(const table &in, bytes key, void *buffer, std::size_t size) const
    {
        std::size_t needed = 0;
        auto status = atomkv_snapshot_get(handle(), in.handle(), key.data(), key.size(), buffer, size, &needed);
        if (status == ATOMKV_ERR_BUFFER_TOO_SMALL)
            status = ATOMKV_OK;
        return detail::found(status, needed);
    }
    /** The value of a key with version, sequence and times; nothing if it was not there. */
    result<std::optional<document>> get_document(const table &in, bytes key) const
    {
        detail::owned value;
        atomkv_entry about{};
        const auto status =
            atomkv_snapshot_get_entry(handle(), in.handle(), key.data(), key.size(), value.out(), &about);
        return detail::found(status, document{value.string(), detail::entry_of(about)});
    }
    /** The values of many keys, as table::get_many. */
    template <class Keys> result<values> get_many(const table &in, const Keys &keys, arena &into) const
    {
        into.keys_.clear();
        for (const auto &key : keys)
            into.keys_.push_back(detail::slice(key));
        const auto count = into.keys_.size();
        into.reserve(count);
        const auto status = atomkv_snapshot_get_many(handle(), in.handle(), into.keys_.data(), count, into.handle(),
                                                     into.values_.data());
        return detail::done(status, values(&into, count));
    }
    /** The values of many keys. */
    result<values> get_many(const table &in, std::initializer_list<bytes> keys, arena &into) const
    {
        return get_many<std::initializer_list<bytes>>(in, keys, into);
    }
    /** Goes over all keys of a table with their values. */
    result<iteration> scan(const table &in) const { return scan_with(in, nullptr); }
    /** Goes over some keys of a table. */
    result<iteration> scan(const table &in, const scan_options &options) const
    {
        if (const auto *bad = options.failure())
            return detail::fail<iteration>(*bad);
        return scan_with(in, options.handle());
    }
    /** Opens a document for reading by parts; nothing if the key was not there. */
    result<std::optional<atomkv::reader>> reader(const table &in, bytes key) const
    {
        atomkv_reader *raw = nullptr;
        const auto status = atomkv_snapshot_reader_new(handle(), in.handle(), key.data(), key.size(), &raw);
        return detail::found(status, atomkv::reader(raw));
    }
    /** Exports what it sees of a table, as table::export_to. */
    result<report> export_to(const table &from, output &to, const transfer_options &options = {},
                             const watcher &follows = {}) const
    {
        if (const auto *bad = options.failure())
            return detail::fail<report>(*bad);
        return detail::reporting(
            [&](atomkv_report **made, atomkv_error **error) {
                return atomkv_snapshot_export(handle(), from.handle(), options.handle(), to.handle(), follows.handle(),
                                              made, error);
            },
            &follows, &to);
    }

private:
    result<iteration> scan_with(const table &in, const atomkv_scan_options *options) const
    {
        atomkv_iter *raw = nullptr;
        const auto status = atomkv_snapshot_iter_new(handle(), in.handle(), options, &raw);
        return detail::done(status, iteration(raw));
    }
};

/**
 * A transaction over any tables of one database: see atomkv_txn. One that is destroyed without a commit has done
 * nothing. database::transact does the rest of what most programs want.
 */
class transaction : public unique_handle<atomkv_txn, atomkv_txn_free> {
public:
    using unique_handle::unique_handle;

    /** The last commit that it sees. */
    result<std::uint64_t> sequence() const
    {
        std::uint64_t sequence = 0;
        const auto status = atomkv_txn_sequence(handle(), &sequence);
        return detail::done(status, sequence);
    }
    /** The value of a key; nothing if it is not there. */
    result<std::optional<std::string>> get(const table &in, bytes key)
    {
        detail::owned value;
        const auto status = atomkv_txn_get_owned(handle(), in.handle(), key.data(), key.size(), value.out());
        return detail::found(status, value.string());
    }
    /** As table::read. */
    result<std::optional<std::size_t>> read(const table &in, bytes key, void *buffer, std::size_t size)
    {
        std::size_t needed = 0;
        auto status = atomkv_txn_get(handle(), in.handle(), key.data(), key.size(), buffer, size, &needed);
        if (status == ATOMKV_ERR_BUFFER_TOO_SMALL)
            status = ATOMKV_OK;
        return detail::found(status, needed);
    }
    /** Whether a key is there. */
    result<bool> contains(const table &in, bytes key)
    {
        return detail::is_ok(atomkv_txn_contains(handle(), in.handle(), key.data(), key.size()));
    }
    /** Stores a value at the commit; the transaction sees it at once. */
    result<void> put(table &in, bytes key, bytes value) { return put_with(in, key, value, nullptr); }
    /** The same with expectation and expiry. */
    result<void> put(table &in, bytes key, bytes value, const write_options &options)
    {
        if (const auto *bad = options.failure())
            return detail::fail<void>(*bad);
        return put_with(in, key, value, options.handle());
    }
    /** Removes a key at the commit, whether or not it is there. */
    result<void> erase(table &in, bytes key)
    {
        return detail::done(atomkv_txn_delete(handle(), in.handle(), key.data(), key.size(), nullptr));
    }
    /** The same with expectation. */
    result<void> erase(table &in, bytes key, const write_options &options)
    {
        if (const auto *bad = options.failure())
            return detail::fail<void>(*bad);
        return detail::done(atomkv_txn_delete(handle(), in.handle(), key.data(), key.size(), options.handle()));
    }
    /** Goes over all keys of a table, which all count as read; nobody else may change the table then. */
    result<iteration> scan(const table &in) { return scan_with(in, nullptr); }
    /** Goes over some keys of a table, which all count as read. */
    result<iteration> scan(const table &in, const scan_options &options)
    {
        if (const auto *bad = options.failure())
            return detail::fail<iteration>(*bad);
        return scan_with(in, options.handle());
    }
    /** Commits, and gives the sequence; 0 if there was nothing to write. ATOMKV_ERR_CONFLICT: begin anew. */
    result<std::uint64_t> commit(durability how = durability::table)
    {
        ended_ = true;
        std::uint64_t sequence = 0;
        detail::error_slot slot;
        const auto status = atomkv_txn_commit(handle(), static_cast<std::int32_t>(how), &sequence, slot.out());
        return detail::done(status, slot, sequence);
    }
    /** Ends it without doing anything. */
    result<void> abort()
    {
        ended_ = true;
        return detail::done(atomkv_txn_abort(handle()));
    }
    /** Whether commit or abort was called. */
    bool ended() const noexcept { return ended_; }

private:
    result<void> put_with(table &in, bytes key, bytes value, const atomkv_write_options *options)
    {
        return detail::done(
            atomkv_txn_put(handle(), in.handle(), key.data(), key.size(), value.data(), value.size(), options));
    }
    result<iteration> scan_with(const table &in, const atomkv_scan_options *options)
    {
        atomkv_iter *raw = nullptr;
        const auto status = atomkv_txn_iter_new(handle(), in.handle(), options, &raw);
        return detail::done(status, iteration(raw));
    }
    bool ended_ = false;
};

/** How often, and after how long, database::transact begins anew. */
struct retries {
    /** The durability of the commit. */
    durability how = durability::table;
    /** How often it tries before the conflict becomes an error; at least once. */
    unsigned attempts = 64;
    /** The bound of the first random wait, which doubles from conflict to conflict. */
    std::chrono::nanoseconds wait = std::chrono::microseconds(20);
    /** How far the bound goes. */
    std::chrono::nanoseconds wait_max = std::chrono::milliseconds(20);
};

/// @cond details
namespace detail {

// Waits for a random time below the bound, so that those who met part.
inline void back_off(const retries &how, unsigned attempt)
{
    auto bound = how.wait.count();
    for (unsigned doubled = 0; doubled < attempt && bound < how.wait_max.count() / 2; doubled++)
        bound *= 2;
    if (bound > how.wait_max.count())
        bound = how.wait_max.count();
    if (bound <= 0)
        return;
    // The address of a variable differs between threads, the time between calls.
    auto random = static_cast<std::uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count()) ^
                  static_cast<std::uint64_t>(reinterpret_cast<std::uintptr_t>(&bound));
    random = (random ^ (random >> 30)) * 0xbf58476d1ce4e5b9U;
    random = (random ^ (random >> 27)) * 0x94d049bb133111ebU;
    random ^= random >> 31;
    std::this_thread::sleep_for(
        std::chrono::nanoseconds(static_cast<std::int64_t>(random % (static_cast<std::uint64_t>(bound) + 1))));
}

// What transact returns: what its function does, or the sequence if that is nothing.
template <class R> struct transacted {
    using type = R;
};
template <> struct transacted<void> {
    using type = std::uint64_t;
};
#ifdef ATOMKV_NO_EXCEPTIONS
template <class R> struct transacted<result<R>> : transacted<R> {};
template <class R> struct is_result : std::false_type {};
template <class R> struct is_result<result<R>> : std::true_type {};
#endif

} // namespace detail
/// @endcond

/** An open database. Any thread, many at once. */
class database : public unique_handle<atomkv_db, atomkv_db_free> {
public:
    using unique_handle::unique_handle;

    /** Opens the database in a directory, or makes one there if the directory is missing or empty. */
    static result<database> open(const std::string &path, const options &how = {})
    {
        if (const auto *bad = how.failure())
            return detail::fail<database>(*bad);
        if (detail::has_nul(path))
            return detail::fail<database>(detail::nul_error(path));
        atomkv_db *raw = nullptr;
        detail::error_slot slot;
        const auto status = atomkv_open(path.c_str(), how.handle(), &raw, slot.out());
        return detail::done(status, slot, database(raw));
    }
    /** Makes a database in memory, of which nothing is left when it is closed. */
    static result<database> in_memory()
    {
        atomkv_db *raw = nullptr;
        detail::error_slot slot;
        const auto status = atomkv_open_in_memory(&raw, slot.out());
        return detail::done(status, slot, database(raw));
    }
    /** A handle to a database that was opened read-only, as it is now; nothing if nothing was written since. */
    result<std::optional<database>> refresh()
    {
        using newer = std::optional<database>;
        atomkv_db *raw = nullptr;
        detail::error_slot slot;
        const auto status = atomkv_refresh(handle(), &raw, slot.out());
        return detail::done(status, slot, status == ATOMKV_OK ? newer(raw) : newer());
    }
    /** The directory, in the system's encoding. */
    result<std::string> path() const
    {
        detail::owned path;
        const auto status = atomkv_path(handle(), path.out());
        return detail::done(status, path.string());
    }
    /** Writes everything out and gives the directory free. Whatever was opened from it answers ATOMKV_ERR_CLOSED. */
    result<void> close()
    {
        detail::error_slot slot;
        const auto status = atomkv_close(handle(), slot.out());
        if (status < 0)
            return detail::fail<void>(detail::make_error(status, slot.get()));
        return result<void>();
    }
    /** Returns when everything acknowledged before the call is on stable storage. */
    result<void> sync() { return detail::done(atomkv_sync(handle())); }
    /** Writes an image of the index, so that the next opening has little to replay. */
    result<void> checkpoint() { return detail::done(atomkv_checkpoint(handle())); }

    /** Opens a table, or creates it. `name`: 1 to 255 bytes. */
    result<atomkv::table> table(const std::string &name, const table_options &how = {})
    {
        if (const auto *bad = how.failure())
            return detail::fail<atomkv::table>(*bad);
        if (detail::has_nul(name))
            return detail::fail<atomkv::table>(detail::nul_error(name));
        atomkv_table *raw = nullptr;
        detail::error_slot slot;
        const auto status = atomkv_table_open(handle(), name.c_str(), how.handle(), &raw, slot.out());
        return detail::done(status, slot, atomkv::table(raw));
    }
    /** The names of all tables. */
    result<std::vector<std::string>> table_names() const
    {
        detail::owned joined;
        std::vector<std::string> names;
        const auto status = atomkv_table_names(handle(), joined.out(), nullptr);
        const std::string all = joined.string();
        for (std::size_t at = 0; at < all.size(); at += names.back().size() + 1)
            names.emplace_back(all.c_str() + at);
        return detail::done(status, std::move(names));
    }

    /** Applies a batch, all of it or nothing, and gives its sequence; 0 if there was nothing to do. */
    result<std::uint64_t> apply(const batch &changes, durability how = durability::table)
    {
        std::uint64_t sequence = 0;
        detail::error_slot slot;
        const auto status =
            atomkv_apply(handle(), changes.handle(), static_cast<std::int32_t>(how), &sequence, slot.out());
        return detail::done(status, slot, sequence);
    }
    /** Takes a snapshot. */
    result<atomkv::snapshot> snapshot()
    {
        atomkv_snapshot *raw = nullptr;
        detail::error_slot slot;
        const auto status = atomkv_snapshot_new(handle(), &raw, slot.out());
        return detail::done(status, slot, atomkv::snapshot(raw));
    }
    /** Begins a transaction. */
    result<transaction> begin_transaction()
    {
        atomkv_txn *raw = nullptr;
        detail::error_slot slot;
        const auto status = atomkv_txn_begin(handle(), &raw, slot.out());
        return detail::done(status, slot, transaction(raw));
    }
    /**
     * Calls `f(transaction &)` and commits; from the beginning if others have changed what it has read meanwhile, so it
     * should have no other effects. Returns what `f` does, or the commit's sequence if `f` returns void. What `f`
     * throws ends it with nothing written, a conflict of its own too; so does a failed result of `f`'s, with
     * ATOMKV_NO_EXCEPTIONS. If `f` ends the transaction itself, or moves it elsewhere, that holds, and the sequence is 0;
     * if it puts another in its place, that one is committed. Of a reference that `f` returns, a copy is returned.
     */
    template <class F>
    result<typename detail::transacted<std::decay_t<std::invoke_result_t<F &, transaction &>>>::type>
    transact(F &&f, const retries &how = {})
    {
        using made = std::decay_t<std::invoke_result_t<F &, transaction &>>;
        using given = typename detail::transacted<made>::type;
        for (unsigned attempt = 0;; attempt++) {
            atomkv_txn *raw = nullptr;
            detail::error_slot slot;
            std::int32_t status = atomkv_txn_begin(handle(), &raw, slot.out());
            if (status < 0)
                return detail::fail<given>(detail::make_error(status, slot.get()));
            transaction current(raw);
            std::uint64_t sequence = 0;
            const auto conflicts = [&] {
                if (current && !current.ended())
                    status = atomkv_txn_commit(current.handle(), static_cast<std::int32_t>(how.how), &sequence,
                                               slot.out());
                return status == ATOMKV_ERR_CONFLICT && attempt + 1 < how.attempts;
            };
            if constexpr (std::is_void_v<made>) {
                f(current);
                if (!conflicts())
                    return detail::done(status, slot, sequence);
#ifdef ATOMKV_NO_EXCEPTIONS
            } else if constexpr (detail::is_result<made>::value) {
                made value = f(current);
                if (!value.ok())
                    return detail::fail<given>(value.error());
                if (!conflicts()) {
                    if constexpr (std::is_same_v<made, result<void>>)
                        return detail::done(status, slot, sequence);
                    else
                        return detail::done(status, slot, std::move(value).value());
                }
#endif
            } else {
                made value = f(current);
                if (!conflicts())
                    return detail::done(status, slot, std::move(value));
            }
            (void)current.abort();
            detail::back_off(how, attempt);
        }
    }
    /** Begins a watch of all tables from now on. */
    result<atomkv::watch> watch() { return watch_with(nullptr); }
    /** Begins a watch. */
    result<atomkv::watch> watch(const watch_options &options)
    {
        if (const auto *bad = options.failure())
            return detail::fail<atomkv::watch>(*bad);
        return watch_with(options.handle());
    }

    /** One of the database's statistics by its name. */
    result<std::uint64_t> stat(const std::string &name) const
    {
        if (detail::has_nul(name))
            return detail::fail<std::uint64_t>(detail::nul_error(name));
        std::uint64_t value = 0;
        const auto status = atomkv_stat(handle(), name.c_str(), &value);
        return detail::done(status, value);
    }
    /** All statistics. */
    result<report> stats() const
    {
        atomkv_report *raw = nullptr;
        const auto status = atomkv_stats(handle(), &raw);
        return detail::done(status, report(raw));
    }
    /** Gives the space of all that is dead back to the file system. */
    result<report> compact(const watcher &follows = {})
    {
        return detail::reporting(
            [&](atomkv_report **made, atomkv_error **error) {
                return atomkv_compact(handle(), follows.handle(), made, error);
            },
            &follows);
    }
    /** Asks the background not to compact while the pause lives. */
    result<compaction_pause> pause_compaction()
    {
        atomkv_compaction_pause *raw = nullptr;
        const auto status = atomkv_pause_compaction(handle(), &raw);
        return detail::done(status, compaction_pause(raw));
    }
    /** Makes a backup in a directory while the database is used; into an earlier one it adds what is new. */
    result<report> backup(const std::string &directory, backup_flags flags = backup_flags::none,
                          const watcher &follows = {})
    {
        if (detail::has_nul(directory))
            return detail::fail<report>(detail::nul_error(directory));
        return detail::reporting(
            [&](atomkv_report **made, atomkv_error **error) {
                return atomkv_backup(handle(), directory.c_str(), static_cast<std::uint32_t>(flags), follows.handle(),
                                     made, error);
            },
            &follows);
    }
    /** Writes a backup as a tar archive with checksums. */
    result<report> backup_stream(output &to, const watcher &follows = {})
    {
        return detail::reporting(
            [&](atomkv_report **made, atomkv_error **error) {
                return atomkv_backup_stream(handle(), to.handle(), follows.handle(), made, error);
            },
            &follows, &to);
    }
    /** Dumps all tables, or those that `options` name, as they are at one moment. */
    result<report> dump(output &to, const transfer_options &options = {}, const watcher &follows = {})
    {
        if (const auto *bad = options.failure())
            return detail::fail<report>(*bad);
        return detail::reporting(
            [&](atomkv_report **made, atomkv_error **error) {
                return atomkv_dump(handle(), options.handle(), to.handle(), follows.handle(), made, error);
            },
            &follows, &to);
    }
    /** Loads a dump: makes the tables that are not there and imports their records. */
    result<report> load_dump(input &from, const transfer_options &options = {}, const watcher &follows = {})
    {
        if (const auto *bad = options.failure())
            return detail::fail<report>(*bad);
        return detail::reporting(
            [&](atomkv_report **made, atomkv_error **error) {
                return atomkv_load_dump(handle(), options.handle(), from.handle(), follows.handle(), made, error);
            },
            &follows, &from);
    }
    /** Reads all that is stored and verifies it. ATOMKV_ERR_CORRUPT: error::report lists what is damaged. */
    result<report> verify(const watcher &follows = {})
    {
        return detail::reporting(
            [&](atomkv_report **made, atomkv_error **error) {
                return atomkv_verify(handle(), follows.handle(), made, error);
            },
            &follows);
    }

private:
    result<atomkv::watch> watch_with(const atomkv_watch_options *options)
    {
        atomkv_watch *raw = nullptr;
        detail::error_slot slot;
        const auto status = atomkv_watch_new(handle(), options, &raw, slot.out());
        return detail::done(status, slot, atomkv::watch(raw));
    }
};

/** Restores a backup into a directory that is missing or empty. Of the flags, only backup_flags::verify counts. */
inline result<report> restore(const std::string &backup, const std::string &directory,
                              backup_flags flags = backup_flags::none, const watcher &follows = {})
{
    if (detail::has_nul(backup) || detail::has_nul(directory))
        return detail::fail<report>(detail::nul_error(detail::has_nul(backup) ? backup : directory));
    return detail::reporting(
        [&](atomkv_report **made, atomkv_error **error) {
            return atomkv_restore(backup.c_str(), directory.c_str(), static_cast<std::uint32_t>(flags),
                                  follows.handle(), made, error);
        },
        &follows);
}

/** Restores what database::backup_stream has written into a directory that is missing or empty. */
inline result<report> restore_stream(input &from, const std::string &directory,
                                     backup_flags flags = backup_flags::none, const watcher &follows = {})
{
    if (detail::has_nul(directory))
        return detail::fail<report>(detail::nul_error(directory));
    return detail::reporting(
        [&](atomkv_report **made, atomkv_error **error) {
            return atomkv_restore_stream(from.handle(), directory.c_str(), static_cast<std::uint32_t>(flags),
                                         follows.handle(), made, error);
        },
        &follows, &from);
}

/** Verifies a database that is not open, without opening it. ATOMKV_ERR_CORRUPT: error::report lists the damage. */
inline result<report> verify_directory(const std::string &directory, const watcher &follows = {})
{
    if (detail::has_nul(directory))
        return detail::fail<report>(detail::nul_error(directory));
    return detail::reporting(
        [&](atomkv_report **made, atomkv_error **error) {
            return atomkv_verify_directory(directory.c_str(), follows.handle(), made, error);
        },
        &follows);
}

/** Copies what can be read of a damaged database into a directory that is missing or empty. */
inline result<report> salvage(const std::string &damaged, const std::string &directory, const watcher &follows = {})
{
    if (detail::has_nul(damaged) || detail::has_nul(directory))
        return detail::fail<report>(detail::nul_error(detail::has_nul(damaged) ? damaged : directory));
    return detail::reporting(
        [&](atomkv_report **made, atomkv_error **error) {
            return atomkv_salvage(damaged.c_str(), directory.c_str(), nullptr, nullptr, follows.handle(), made, error);
        },
        &follows);
}

/** The same where one table has services that are not AtomKV's own: `services` name them. */
inline result<report> salvage(const std::string &damaged, const std::string &directory,
                              const std::string &services_table, const table_options &services,
                              const watcher &follows = {})
{
    if (const auto *bad = services.failure())
        return detail::fail<report>(*bad);
    for (const auto *text : {&damaged, &directory, &services_table})
        if (detail::has_nul(*text))
            return detail::fail<report>(detail::nul_error(*text));
    return detail::reporting(
        [&](atomkv_report **made, atomkv_error **error) {
            return atomkv_salvage(damaged.c_str(), directory.c_str(), services_table.c_str(), services.handle(),
                                  follows.handle(), made, error);
        },
        &follows);
}

/** The version of the library that is loaded, such as "0.1.0". */
inline std::string_view version() noexcept
{
    return atomkv_version();
}

/** The ABI of the library that is loaded; a program works with it if this is ATOMKV_ABI_VERSION. */
inline std::uint32_t abi_version() noexcept
{
    return atomkv_abi_version();
}

inline watch_options &watch_options::table(const atomkv::table &only) &
{
    builder::set(atomkv_watch_options_add_table(handle(), only.handle()));
    return *this;
}

inline transfer_options &transfer_options::scan(const scan_options &keys) &
{
    if (const auto *bad = keys.failure()) {
        this->refuse(*bad);
        return *this;
    }
    builder::set(atomkv_transfer_options_set_scan(handle(), keys.handle()));
    return *this;
}

inline transfer_options &transfer_options::bookmark(const atomkv::table &in, bytes key) &
{
    builder::set(atomkv_transfer_options_set_bookmark(handle(), in.handle(), key.data(), key.size()));
    return *this;
}

inline transfer_options &transfer_options::table(const std::string &name) &
{
    if (detail::has_nul(name)) {
        this->refuse(name);
        return *this;
    }
    builder::set(atomkv_transfer_options_add_table(handle(), name.c_str()));
    return *this;
}

inline transfer_options &transfer_options::services(const std::string &name, const table_options &with) &
{
    if (detail::has_nul(name)) {
        this->refuse(name);
        return *this;
    }
    if (const auto *bad = with.failure()) {
        this->refuse(*bad);
        return *this;
    }
    builder::set(atomkv_transfer_options_add_services(handle(), name.c_str(), with.handle()));
    return *this;
}

} // namespace results or exceptions

} // namespace atomkv

#endif
