// atomkv.hpp without exceptions. usage: test_hpp_result DIRECTORY

#ifndef ATOMKV_NO_EXCEPTIONS
#define ATOMKV_NO_EXCEPTIONS
#endif

#include <filesystem>
#include <fstream>

#include "atomkv.hpp"
#include "test.h"

using namespace std::chrono_literals;

static_assert(!std::is_convertible<atomkv::result<bool>, bool>::value, "a result is not mistaken for its value");
static_assert(std::is_nothrow_destructible<atomkv::result<atomkv::database>>::value, "destructors do not throw");

static void test_values(atomkv::database &db)
{
    auto users = db.table("users").value();
    auto stored = users.put("ada", "countess");
    REQUIRE(stored.ok() && stored->version == 1);
    CHECK(users.get("ada").value() == "countess");
    CHECK(users.at("ada").value() == "countess");
    auto missing = users.get("alan");
    CHECK(missing.ok() && !*missing);
    auto needed = users.at("alan");
    CHECK(!needed.ok() && needed.error().code() == ATOMKV_NOT_FOUND && !needed.error().message().empty());
    CHECK(*users.contains("ada") && !*users.contains("alan"));
    auto refused = users.put("", "x");
    CHECK(!refused.ok() && refused.error().code() == ATOMKV_ERR_KEY_EMPTY);

    auto conflict = users.put("ada", "x", atomkv::write_options().expect(atomkv::expect::absent()));
    CHECK(!conflict.ok() && conflict.error().code() == ATOMKV_ERR_CONFLICT);
    atomkv::batch batch;
    CHECK(batch.put(users, "alan", "1").ok() && batch.expect(users, "ada", atomkv::expect::version(7)).ok());
    auto applied = db.apply(batch);
    CHECK(!applied.ok() && applied.error().key() == "ada" && applied.error().found().version == 1);
    CHECK(batch.clear().ok() && *batch.size() == 0);

    // A setter that fails has the call fail, whatever is set later.
    auto options = atomkv::table_options().partitions(0).service("compressor", "none such").ordered();
    auto bad = db.table("bad", options);
    CHECK(!bad.ok() && bad.error().code() == ATOMKV_ERR_INVALID_ARGUMENT);
    auto cut = db.table(std::string("a\0b", 3));
    CHECK(!cut.ok() && cut.error().code() == ATOMKV_ERR_INVALID_ARGUMENT);
    auto carried = atomkv::transfer_options().set("colour", "red");
    auto output = atomkv::output::memory();
    CHECK(users.export_to(output, carried).error().code() == ATOMKV_ERR_INVALID_ARGUMENT);
    // Moved from, with what it had failed with.
    auto elsewhere = std::move(options);
    CHECK(db.table("bad", options).error().code() == ATOMKV_ERR_INVALID_ARGUMENT);
    CHECK(db.table("bad", elsewhere).error().code() == ATOMKV_ERR_INVALID_ARGUMENT);
    auto absent = atomkv::write_options().expect(atomkv::expect::absent());
    auto taken = std::move(absent);
    CHECK(users.put("ada", "x", absent).error().code() == ATOMKV_ERR_INVALID_ARGUMENT);
    CHECK(users.get("ada").value() == "countess");
    atomkv::progress progress;
    auto follows = std::move(progress);
    CHECK(db.verify(progress).error().code() == ATOMKV_ERR_INVALID_ARGUMENT && db.verify(follows).ok());

    CHECK((*users.update("u", [](auto old) { return std::string(old.value_or("none")); }))->version == 1);
    auto kept = users.update("u", [](auto) { return atomkv::decision::keep(); });
    CHECK(kept.ok() && !*kept);
    CHECK(users.update("u", [](auto) { return atomkv::decision::refuse(); }).error().code() == ATOMKV_ERR_CALLBACK);
}

static void test_scans(atomkv::database &db)
{
    auto words = db.table("words", atomkv::table_options().ordered()).value();
    for (char letter = 'a'; letter <= 'e'; letter++)
        CHECK(words.put(std::string(2, letter), std::string(1, letter)).ok());
    std::string seen;
    for (auto [key, value] : words.scan().value())
        seen += value;
    CHECK(seen == "abcde");
    auto some = words.scan(atomkv::scan_options().reverse().limit(2)).value();
    CHECK((*some.next())->key == "ee" && (*some.next())->key == "dd" && !*some.next() && !some.failure());
    auto unordered = db.table("users")->scan(atomkv::scan_options().reverse());
    CHECK(!unordered.ok() && unordered.error().code() == ATOMKV_ERR_INVALID_ARGUMENT);
    atomkv::arena arena;
    auto values = words.get_many({"aa", "zz"}, arena).value();
    CHECK(values[0] == "a" && !values[1]);

    // A loop over an iteration that cannot go on ends, and says why.
    auto memory = atomkv::database::in_memory().value();
    auto things = memory.table("things").value();
    CHECK(things.put("x", "y").ok());
    auto cut = things.scan().value();
    CHECK(memory.close().ok());
    int count = 0;
    for (auto found : cut)
        count += !found.key.empty();
    CHECK(count == 0 && cut.failure() && cut.failure()->code() == ATOMKV_ERR_CLOSED);
}

// Each range-for over what is damaged says for itself whether it came to the end.
static void test_damaged_scans(const std::string &path)
{
    const int keys = 1000;
    {
        auto db = atomkv::database::open(path).value();
        auto table = db.table("t").value();
        for (int number = 0; number < keys; number++) {
            const auto text = "key " + std::to_string(number) + " and its value";
            REQUIRE(table.put(text, text).ok());
        }
        REQUIRE(db.compact().ok() && db.close().ok());
    }
    for (const auto &file : std::filesystem::directory_iterator(path)) {
        if (file.path().filename().string().rfind("page-", 0) != 0)
            continue;
        std::fstream page(file.path(), std::ios::in | std::ios::out | std::ios::binary);
        page.seekp(20000);
        page << "!!!!!!!!!!!!!!!!";
    }
    auto db = atomkv::database::open(path).value();
    auto scan = db.table("t")->scan().value();
    int seen = 0;
    int damages = 0;
    int rounds = 0;
    do {
        for (auto found : scan)
            seen += !found.key.empty();
        if (scan.failure()) {
            CHECK(scan.failure()->code() == ATOMKV_ERR_CORRUPT);
            damages++;
        }
    } while (scan.failure() && ++rounds < 10);
    CHECK(!scan.failure() && damages >= 1 && seen < keys && seen >= keys - 10);
}

static void test_transactions(atomkv::database &db)
{
    auto accounts = db.table("accounts").value();
    int attempts = 0;
    auto moved = db.transact([&](atomkv::transaction &t) -> atomkv::result<std::string> {
        auto value = t.get(accounts, "a");
        if (!value.ok())
            return value.error();
        if (attempts++ < 2)
            CHECK(accounts.append("a", "x").ok()); // somebody else
        auto put = t.put(accounts, "a", value->value_or("") + "y");
        if (!put.ok())
            return put.error();
        return value->value_or("none");
    });
    CHECK(attempts == 3 && moved.ok() && *moved == "xx" && **accounts.get("a") == "xxy");
    // A failure of the function's ends it, and nothing is written.
    auto ended = db.transact([&](atomkv::transaction &t) -> atomkv::result<void> {
        CHECK(t.put(accounts, "b", "1").ok());
        return t.put(accounts, "", "1");
    });
    CHECK(!ended.ok() && ended.error().code() == ATOMKV_ERR_KEY_EMPTY && !*accounts.contains("b"));
    auto sequence = db.transact([&](atomkv::transaction &t) { return t.put(accounts, "b", "1"); });
    CHECK(sequence.ok() && *sequence > 0 && *accounts.contains("b"));
    auto number = db.transact([](atomkv::transaction &) { return 7; });
    CHECK(number.ok() && *number == 7);
    const std::string text = "text";
    auto refer = [&](atomkv::transaction &) -> const std::string & { return text; };
    static_assert(std::is_same<decltype(db.transact(refer)), atomkv::result<std::string>>::value, "a copy comes out");
    CHECK(*db.transact(refer) == text);
    // A transaction that was given away, and one that took another's place.
    auto given = db.transact([&](atomkv::transaction &t) {
        CHECK(t.put(accounts, "given", "1").ok());
        atomkv::transaction other = std::move(t);
        CHECK(other.commit().ok());
    });
    CHECK(given.ok() && *given == 0 && *accounts.contains("given"));
    auto replaced = db.transact([&](atomkv::transaction &t) {
        t = db.begin_transaction().value();
        CHECK(t.put(accounts, "second", "1").ok());
    });
    CHECK(replaced.ok() && *replaced > 0 && *accounts.contains("second"));
    atomkv::retries once;
    once.attempts = 1;
    auto conflict = db.transact(
        [&](atomkv::transaction &t) {
            (void)t.get(accounts, "c");
            CHECK(accounts.append("c", "x").ok());
            (void)t.put(accounts, "d", "1");
        },
        once);
    CHECK(!conflict.ok() && conflict.error().code() == ATOMKV_ERR_CONFLICT && conflict.error().key() == "c");
}

static void test_care(const std::string &path, atomkv::database &db)
{
    auto watch = db.watch(atomkv::watch_options().state_first()).value();
    auto first = watch.next(1s);
    CHECK(first.ok() && *first && (*first)->kind == atomkv::change_kind::state);
    auto report = db.verify([](const atomkv::progress_values &) { return true; });
    CHECK(report.ok() && *report->value("damage_count") == 0);
    auto users = db.table("users").value();
    auto input = atomkv::input::memory("{\"nonsense\n").value();
    auto imported = users.import_from(input);
    CHECK(!imported.ok() && imported.error().code() == ATOMKV_ERR_INPUT);
    CHECK(imported.error().report() != nullptr && *imported.error().report()->value("records") == 0);
    auto source = atomkv::input::callback([](char *, std::size_t) { return std::optional<std::size_t>(); }).value();
    CHECK(users.import_from(source).error().code() == ATOMKV_ERR_CALLBACK);
    auto locked = atomkv::database::open(path);
    CHECK(!locked.ok() && locked.error().code() == ATOMKV_ERR_LOCKED && !locked.error().path().empty());
    // Errors outlive what they came from.
    const auto kept = locked.error();
    locked = atomkv::database();
    CHECK(locked.ok() && kept.code() == ATOMKV_ERR_LOCKED);
}

int main(int count, char **arguments)
{
    if (count != 2) {
        fprintf(stderr, "usage: %s DIRECTORY\n", arguments[0]);
        return 2;
    }
    char path[4096];
    path_of(path, sizeof path, arguments[1], "result");
    auto opened = atomkv::database::open(path, atomkv::options().sync_interval(100ms));
    REQUIRE(opened.ok());
    auto db = std::move(opened).value();
    test_values(db);
    test_scans(db);
    test_damaged_scans(std::string(path) + ".damaged");
    test_transactions(db);
    test_care(path, db);
    CHECK(db.close().ok());
    CHECK(db.table("users").error().code() == ATOMKV_ERR_CLOSED);
    return report("C++ with results");
}
