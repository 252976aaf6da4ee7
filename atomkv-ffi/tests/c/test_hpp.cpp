// atomkv.hpp with exceptions. usage: test_hpp DIRECTORY

#include <algorithm>
#include <array>
#include <fstream>
#include <stdexcept>

#include "atomkv.hpp"
#include "test.h"

#ifdef CONFLICT
#error "atomkv.hpp leaks a macro"
#endif

using namespace std::chrono_literals;

static_assert(std::is_same<atomkv::result<int>, int>::value, "a result is the value itself");
static_assert(!std::is_copy_constructible<atomkv::table>::value, "handles are not copied");
static_assert(!std::is_copy_constructible<atomkv::options>::value, "options are not copied");
static_assert(std::is_nothrow_move_constructible<atomkv::database>::value, "handles are moved");
static_assert(std::is_nothrow_destructible<atomkv::iteration>::value, "destructors do not throw");
static_assert(std::is_nothrow_copy_constructible<atomkv::conflict>::value, "exceptions are copied without throwing");
static_assert(std::is_base_of<std::exception, atomkv::conflict>::value, "errors are exceptions");
static_assert(!std::is_convertible<std::vector<int>, atomkv::bytes>::value, "ints are no bytes");
static_assert(!std::is_convertible<std::array<bool, 2>, atomkv::bytes>::value, "bools are no bytes");
static_assert(!std::is_constructible<atomkv::bytes, char (&)[8]>::value, "a buffer says its length");
#if __cplusplus >= 202002L
static_assert(std::input_iterator<atomkv::iteration::iterator>, "an iterator as C++20 knows it");
static_assert(std::input_iterator<atomkv::history::iterator>, "an iterator as C++20 knows it");
#endif

// The code of the error that a function throws; 0 if it throws none.
template <class F> static int thrown(F &&f)
{
    try {
        f();
    } catch (const atomkv::error &error) {
        return error.code();
    }
    return 0;
}

// Whether a function throws just this class.
template <class E, class F> static bool throws(F &&f)
{
    try {
        f();
    } catch (const E &) {
        return true;
    } catch (...) {
    }
    return false;
}

static void test_bytes()
{
    const unsigned char raw[] = {1, 0, 2};
    const char bare[] = {'a', 'b'};
    const char *text = "ada";
    const char *none = nullptr;
    const std::vector<std::byte> several(3, std::byte{7});
    const std::vector<std::uint8_t> nothing;
    CHECK(atomkv::bytes("ada").size() == 3);
    CHECK(atomkv::bytes("a\0b").size() == 3);
    CHECK(atomkv::bytes("").empty());
    CHECK(atomkv::bytes(bare).size() == 2);
    CHECK(atomkv::bytes(raw).size() == 3);
    CHECK(atomkv::bytes(text).size() == 3);
    CHECK(atomkv::bytes(none).empty() && atomkv::bytes(none).data() != nullptr);
    CHECK(atomkv::bytes(std::string("a\0b", 3)).size() == 3);
    CHECK(atomkv::bytes(std::string_view("xyz", 2)).size() == 2);
    CHECK(atomkv::bytes(several).size() == 3 && *atomkv::bytes(several).begin() == std::byte{7});
    CHECK(atomkv::bytes(nothing).empty() && atomkv::bytes(nothing).data() != nullptr);
    CHECK(std::string_view(atomkv::bytes(std::array<char, 2>{{'o', 'k'}})) == "ok");
    CHECK(std::string_view(atomkv::bytes(u8"\u00e9")) == "\xc3\xa9");
}

static void test_values(atomkv::database &db)
{
    auto users = db.table("users");
    CHECK(users.put("ada", "countess").version == 1);
    CHECK(users.get("ada") == "countess");
    CHECK(users.at("ada") == "countess");
    CHECK(!users.get("alan"));
    CHECK(throws<atomkv::not_found>([&] { users.at("alan"); }));
    CHECK(users.contains("ada") && !users.contains("alan"));
    users.put("empty", "");
    CHECK(users.get("empty") == "");
    users.put(std::vector<std::byte>(2, std::byte{0}), std::array<unsigned char, 2>{{9, 0}});
    CHECK(users.get(std::string(2, '\0')) == std::string("\t\0", 2));

    auto view = users.view("ada");
    users.put("ada", "mathematician");
    CHECK(view && view->value() == "countess" && view->written().version == 1);
    auto moved = std::move(*view);
    CHECK(std::string_view(moved) == "countess");
    CHECK(!users.view("alan"));

    char buffer[16] = "";
    CHECK(users.read("ada", buffer, sizeof buffer) == std::size_t{13} && memcmp(buffer, "mathematician", 13) == 0);
    CHECK(users.read("ada", nullptr, 0) == std::size_t{13});
    CHECK(!users.read("alan", buffer, sizeof buffer));

    auto document = users.get_document("ada");
    CHECK(document && document->value == "mathematician" && document->about.version == 2);
    CHECK(document && !document->about.expires_at && document->about.time > atomkv::time_point(1h));
    CHECK(users.entry("ada")->sequence == document->about.sequence);
    CHECK(users.erase("empty") && !users.erase("empty"));
    CHECK(!users.put_if_changed("ada", "mathematician") && users.put_if_changed("ada", "author"));

    const auto soon = std::chrono::system_clock::now() + 1h;
    users.put("brief", "x", atomkv::write_options().expires_at(soon));
    CHECK(users.entry("brief")->expires_at >= std::chrono::time_point_cast<std::chrono::milliseconds>(soon));
    CHECK(users.set_expiry("brief", atomkv::write_options().never_expires()) && !users.entry("brief")->expires_at);
    CHECK(throws<atomkv::invalid_argument>([&] { users.put("brief", "x", atomkv::write_options().ttl(-1s)); }));
    users.put("brief", "x", atomkv::write_options().ttl(3600s + 1500us));
    CHECK(users.entry("brief")->expires_at.has_value());

    CHECK(users.add_integer("number", 40) == 40 && users.add_integer("number", 2) == 42);
    CHECK(users.add_decimal("decimal", "-12") == "-12");
    CHECK(users.append("text", "ab") == "ab" && users.append("text", "c") == "abc");
    CHECK(users.merge_json("json", "{\"a\":1}") == "{\"a\":1}");
    CHECK(throws<atomkv::merge_error>([&] { users.add_integer("text", 1); }));
    CHECK(users.name() == "users" && users.partitions() == 16 && users.slot("ada") < 16384 && users.partition("ada") < 16);
    CHECK((db.table_names() == std::vector<std::string>{"users"}));
}

static void test_errors(const std::string &path, atomkv::database &db)
{
    auto users = db.table("users");
    auto created = users.put("key", "1", atomkv::write_options().expect(atomkv::expect::absent()));
    atomkv::batch batch;
    batch.put(users, "key", "2", atomkv::write_options().expect(atomkv::expect::absent()));
    try {
        db.apply(batch);
        CHECK(false && "a conflict");
    } catch (const atomkv::conflict &error) {
        CHECK(error.code() == ATOMKV_ERR_CONFLICT && std::string(error.name()) == "ATOMKV_ERR_CONFLICT");
        CHECK(error.key() == "key" && error.table() == "users" && error.found().sequence == created.sequence);
        CHECK(!error.message().empty() && error.what() == error.message() && error.report() == nullptr);
    }
    users.put("key", "2", atomkv::write_options().expect(atomkv::expect::version(created.version)));
    CHECK(thrown([&] {
              users.put("key", "3", atomkv::write_options().expect(atomkv::expect::sequence(created.sequence)));
          }) == ATOMKV_ERR_CONFLICT);
    CHECK(users.erase("key", atomkv::write_options().expect(atomkv::expect::present())).has_value());
    try {
        auto second = atomkv::database::open(path);
        CHECK(false && "locked");
    } catch (const atomkv::locked &error) {
        CHECK(error.path().find(path) != std::string::npos && !error.offset());
    }
    CHECK(throws<atomkv::key_empty>([&] { users.put("", "x"); }));
    CHECK(throws<atomkv::key_too_long>([&] { users.put(std::string(65536, 'k'), "x"); }));
    CHECK(throws<atomkv::table_not_found>(
        [&] { db.table("none", atomkv::table_options().create_if_missing(false)); }));
    CHECK(throws<atomkv::table_mismatch>([&] { db.table("users", atomkv::table_options().ordered()); }));
    CHECK(throws<atomkv::invalid_argument>([&] { db.table(std::string("a\0b", 3)); }));
    CHECK(throws<atomkv::invalid_argument>([] { atomkv::table_options().service("compressor", "none such"); }));
    atomkv::table empty;
    CHECK(!empty && throws<atomkv::invalid_argument>([&] { empty.get("ada"); }));
    atomkv::table moved = std::move(users);
    CHECK(moved && !users && moved.handle() != nullptr);

    auto memory = atomkv::database::in_memory();
    auto things = memory.table("things");
    memory.close();
    CHECK(throws<atomkv::closed>([&] { things.get("x"); }));
}

// Options that were moved from stood for the defaults: a write took no notice of what it expected.
static void test_what_was_moved_from(const std::string &path, atomkv::database &db)
{
    auto users = db.table("moved", atomkv::table_options().ordered());
    users.put("kept", "old");
    auto absent = atomkv::write_options().expect(atomkv::expect::absent());
    auto taken = std::move(absent);
    CHECK(throws<atomkv::invalid_argument>([&] { users.put("kept", "new", absent); }));
    CHECK(throws<atomkv::invalid_argument>([&] { users.erase("kept", absent); }));
    CHECK(throws<atomkv::invalid_argument>([&] { users.set_expiry("kept", absent); }));
    CHECK(throws<atomkv::invalid_argument>([&] { users.writer("kept").finish(absent); }));
    atomkv::batch batch;
    CHECK(throws<atomkv::invalid_argument>([&] { batch.put(users, "kept", "new", absent); }) && batch.size() == 0);
    CHECK(throws<atomkv::conflict>([&] { users.put("kept", "new", taken); }));
    CHECK(users.get("kept") == "old");

    auto first = atomkv::scan_options().limit(1);
    auto only = std::move(first);
    CHECK(throws<atomkv::invalid_argument>([&] { users.scan(first); }) && users.scan(only).next());
    auto of_table = atomkv::watch_options().table(users);
    auto watched = std::move(of_table);
    CHECK(throws<atomkv::invalid_argument>([&] { db.watch(of_table); }) && db.watch(watched).resume_from() > 0);
    atomkv::options how;
    auto other = std::move(how);
    CHECK(throws<atomkv::invalid_argument>([&] { atomkv::database::open(path + ".moved", how); }));
    atomkv::table_options ordered;
    auto taken_too = std::move(ordered);
    CHECK(throws<atomkv::invalid_argument>([&] { db.table("moved too", ordered); }));
    auto output = atomkv::output::memory();
    CHECK(throws<atomkv::invalid_argument>([&] { atomkv::transfer_options().scan(first); }));
    atomkv::transfer_options csv;
    auto also = std::move(csv);
    CHECK(throws<atomkv::invalid_argument>([&] { users.export_to(output, csv); }));
    // Who follows a call is somebody, or nobody was meant.
    atomkv::progress progress;
    auto follows = std::move(progress);
    CHECK(throws<atomkv::invalid_argument>([&] { db.verify(progress); }) && db.verify(follows).size() > 0);
    // They are used again once they have something to hold.
    absent = atomkv::write_options();
    CHECK(users.put("kept", "new", absent).version == 2);
}

static void test_scans(atomkv::database &db)
{
    auto words = db.table("words", atomkv::table_options().ordered().retention_versions(3));
    for (char letter = 'a'; letter <= 'e'; letter++)
        words.put(std::string(2, letter), std::string(1, letter));
    std::string seen;
    for (auto [key, value] : words.scan()) {
        CHECK(key.size() == 2 && key.substr(1) == value);
        seen += value;
    }
    CHECK(seen == "abcde");
    seen.clear();
    for (const auto &found : words.scan(atomkv::scan_options().low("bb").high("dd").reverse()))
        seen += found.value;
    CHECK(seen == "cb");
    seen.clear();
    for (const auto &found : words.scan(atomkv::scan_options().glob("[ce]*").keys_only()))
        seen += found.key;
    CHECK(seen == "ccee");

    auto page = words.scan(atomkv::scan_options().limit(2));
    CHECK(page.next()->key == "aa" && page.written().version == 1 && page.entry()->version == 1);
    CHECK(page.next()->key == "bb");
    auto token = page.page_token();
    CHECK(token.has_value() && !page.next());
    auto rest = words.scan(atomkv::scan_options().after(*token));
    std::vector<std::string> keys;
    std::transform(rest.begin(), rest.end(), std::back_inserter(keys),
                   [](const atomkv::item &found) { return std::string(found.key); });
    CHECK((keys == std::vector<std::string>{"cc", "dd", "ee"}));

    atomkv::arena arena;
    auto values = words.get_many({"aa", "zz", "cc"}, arena);
    CHECK(values.size() == 3 && values[0] == "a" && !values[1] && values[2] == "c");
    seen.clear();
    for (auto value : words.get_many(keys, arena))
        seen += value.value_or("-");
    CHECK(seen == "cde");
    auto all = words.scan();
    std::size_t count = 0;
    while (true) {
        auto items = all.next_many(arena, 2);
        if (items.empty())
            break;
        for (auto [key, value] : items)
            count += key.substr(1) == value;
    }
    CHECK(count == 5);

    auto before = db.snapshot();
    words.put("aa", "new");
    words.erase("aa");
    CHECK(before.get(words, "aa") == "a" && before.contains(words, "aa") && !words.get("aa"));
    CHECK(before.get_document(words, "aa")->about.version == 1 && before.sequence() > 0);
    CHECK(before.get_many(words, {"aa"}, arena)[0] == "a");
    char letter = 0;
    CHECK(before.read(words, "aa", &letter, 1) == std::size_t{1} && letter == 'a');
    CHECK(before.time() > atomkv::time_point(1h));
    // The memory that a call fills cannot tell it the keys.
    words.put("bb", "aa");
    auto inside = words.get_many({"bb"}, arena)[0].value();
    CHECK(throws<atomkv::invalid_argument>([&] { words.get_many({inside}, arena); }));
    words.put("bb", "b");
    count = 0;
    for (auto found : before.scan(words))
        count += !found.key.empty();
    CHECK(count == 5);
    auto past = words.history("aa");
    CHECK(past.size() == 3 && past[0].about.tombstone && past[1].value == "new" && past[2].value == "a");
    std::uint64_t versions = 0;
    for (auto version : past)
        versions += version.about.version;
    CHECK(versions == 6 && words.history("never").empty());
    CHECK(words.get_version("aa", 1).value == "a" && words.get_at("aa", before.sequence())->value == "a");
    CHECK(throws<atomkv::version_not_found>([&] { words.get_version("aa", 9); }));
}

static void test_transactions(atomkv::database &db)
{
    auto accounts = db.table("accounts", atomkv::table_options().ordered());
    int attempts = 0;
    auto sum = db.transact([&](atomkv::transaction &t) {
        auto value = t.get(accounts, "a");
        if (attempts++ < 2)
            accounts.append("a", "x"); // somebody else
        t.put(accounts, "a", value.value_or("") + "y");
        return t.get(accounts, "a").value();
    });
    CHECK(attempts == 3 && sum == "xxy" && accounts.get("a") == "xxy");
    CHECK(db.transact([&](atomkv::transaction &t) { t.erase(accounts, "a"); }) > 0);
    CHECK(!accounts.get("a"));

    CHECK(throws<std::runtime_error>([&] {
        db.transact([&](atomkv::transaction &t) {
            t.put(accounts, "b", "1");
            throw std::runtime_error("enough");
        });
    }));
    CHECK(!accounts.contains("b"));
    atomkv::retries few;
    few.attempts = 2;
    few.how = atomkv::durability::sync;
    attempts = 0;
    CHECK(throws<atomkv::conflict>([&] {
        db.transact(
            [&](atomkv::transaction &t) {
                attempts++;
                (void)t.contains(accounts, "c");
                accounts.append("c", "x");
                t.put(accounts, "d", "1");
            },
            few);
    }));
    CHECK(attempts == 2 && !accounts.contains("d"));
    CHECK(db.transact([&](atomkv::transaction &t) {
        t.put(accounts, "d", "1");
        t.abort();
    }) == 0);
    CHECK(!accounts.contains("d"));
    // A transaction that was given away, and one that took another's place.
    const auto finish = [](atomkv::transaction t) { t.commit(); };
    CHECK(db.transact([&](atomkv::transaction &t) {
        t.put(accounts, "given", "1");
        finish(std::move(t));
    }) == 0);
    CHECK(accounts.get("given") == "1");
    CHECK(db.transact([&](atomkv::transaction &t) {
        t.put(accounts, "first", "1");
        t = db.begin_transaction();
        t.put(accounts, "second", "1");
    }) > 0);
    CHECK(!accounts.contains("first") && accounts.contains("second"));
    // Of a reference a copy comes out, and what it leads to is left alone.
    std::string text(100, 't');
    auto refer = [&](atomkv::transaction &) -> std::string & { return text; };
    auto refer_const = [&](atomkv::transaction &) -> const std::string & { return text; };
    static_assert(std::is_same<decltype(db.transact(refer_const)), std::string>::value, "no reference comes out");
    static_assert(std::is_same<decltype(db.transact(refer)), std::string>::value, "no reference comes out");
    CHECK(db.transact(refer_const) == text && db.transact(refer) == std::string(100, 't') && text.size() == 100);
    // What cannot be copied comes out too.
    auto only = db.transact([](atomkv::transaction &) { return std::make_unique<int>(7); });
    CHECK(*only == 7);

    std::vector<std::thread> threads;
    for (int thread = 0; thread < 2; thread++)
        threads.emplace_back([&] {
            for (int number = 0; number < 100; number++)
                db.transact([&](atomkv::transaction &t) {
                    const auto count = std::stoi(t.get(accounts, "count").value_or("0"));
                    t.put(accounts, "count", std::to_string(count + 1));
                });
        });
    for (auto &thread : threads)
        thread.join();
    CHECK(accounts.get("count") == "200");

    auto t = db.begin_transaction();
    t.put(accounts, "z", "1", atomkv::write_options().ttl(1h));
    std::string seen;
    for (auto [key, value] : t.scan(accounts, atomkv::scan_options().prefix("z")))
        seen += std::string(key) + std::string(value);
    CHECK(seen == "z1" && !t.ended());
    CHECK(t.commit() > 0 && t.ended() && accounts.entry("z")->expires_at);
    CHECK(thrown([&] { t.commit(); }) < 0);
}

static void test_updates(atomkv::table &users)
{
    CHECK(users.update("u", [](auto old) { return std::string(old.value_or("none")); })->version == 1);
    CHECK(users.get("u") == "none");
    CHECK(!users.update("u", [](auto) { return atomkv::decision::keep(); }));
    CHECK(throws<atomkv::callback_failed>(
        [&] { users.update("u", [](auto) { return atomkv::decision::refuse(); }); }));
    CHECK(throws<std::logic_error>([&] {
        users.update("u", [](auto) -> std::string { throw std::logic_error("carried through"); });
    }));
    CHECK(users.get("u") == "none");
    int calls = 0;
    users.update("u", [&](std::optional<std::string_view> old) {
        if (calls++ == 0)
            users.put("u", "other");
        return atomkv::decision::put(std::string(*old) + "!");
    });
    CHECK(calls == 2 && users.get("u") == "other!");
    CHECK(users.update("u", [](auto) { return atomkv::decision::erase(); }) && !users.contains("u"));
}

static void test_streams_and_watches(atomkv::database &db)
{
    auto files = db.table("files");
    auto watch = db.watch(atomkv::watch_options().table(files).prefix("f"));
    CHECK(!watch.next(0s) && !watch.next(1ns) && !watch.next(-1h));
    auto writer = files.writer("f1");
    const std::string part(100000, 'p');
    for (int count = 0; count < 20; count++)
        writer.append(part);
    CHECK(!files.contains("f1"));
    CHECK(writer.finish(atomkv::write_options().expect(atomkv::expect::absent())).version == 1);
    auto reader = files.reader("f1");
    CHECK(files.entry("f1")->sequence == reader->written().sequence);
    CHECK(reader && reader->size() == 2000000 && reader->written().version == 1 && !files.reader("f0"));
    char buffer[8];
    CHECK(reader->read(1999996, buffer, sizeof buffer) == 4 && buffer[3] == 'p');
    auto change = watch.next(std::chrono::hours::max());
    CHECK(change && change->table == "files" && change->key == "f1" && change->kind == atomkv::change_kind::put);
    files.erase("f1");
    change = watch.next(10s);
    CHECK(change && change->kind == atomkv::change_kind::erase && !change->value && change->last_of_commit);
    CHECK(watch.resume_from() > 0);
}

static void test_transfer_and_care(const std::string &path, atomkv::database &db)
{
    auto from = db.table("export", atomkv::table_options().ordered());
    for (int number = 0; number < 100; number++)
        from.put(std::to_string(number), "v");
    auto memory = atomkv::output::memory();
    int told = 0;
    auto report = from.export_to(memory, {}, [&](const atomkv::progress_values &) { told++; });
    CHECK(report.value("records") == 100 && told > 0 && report.json().front() == '{');
    std::uint64_t records = 0;
    for (auto [name, value] : report)
        records += name == "records" ? value : 0;
    CHECK(records == 100 && throws<atomkv::invalid_argument>([&] { report.value("nonsense"); }));
    const auto lines = memory.take();
    CHECK(std::count(lines.begin(), lines.end(), '\n') == 100);

    std::string got;
    auto calling = atomkv::output::callback([&](std::string_view data) { got += data; });
    from.export_to(calling);
    CHECK(got == lines);
    auto failing = atomkv::output::callback([](std::string_view) { throw std::range_error("full"); });
    CHECK(throws<std::range_error>([&] { from.export_to(failing); }));
    auto refusing = atomkv::output::callback([](std::string_view) { return false; });
    CHECK(throws<atomkv::callback_failed>([&] { from.export_to(refusing); }));
    // One that has thrown is not called again, and what comes out of one call does not come out of the next.
    int thrown_times = 0;
    bool is_full = true;
    auto throwing = atomkv::output::callback([&](std::string_view) {
        if (is_full) {
            thrown_times++;
            throw std::range_error("full");
        }
    });
    CHECK(throws<std::range_error>([&] { db.backup_stream(throwing); }) && thrown_times == 1);
    is_full = false;
    db.backup_stream(throwing);
    // Of two exceptions the first is told, and the second does not wait for the next call.
    bool is_over = false;
    atomkv::progress ending([&](const atomkv::progress_values &) {
        if (!is_full)
            return;
        is_over = true;
        throw std::domain_error("no further");
    });
    auto last = atomkv::output::callback([&](std::string_view) {
        if (is_full && is_over)
            throw std::range_error("full");
    });
    is_full = true;
    CHECK(throws<std::domain_error>([&] { db.backup_stream(last, ending); }));
    is_full = false;
    from.export_to(last, {}, ending);

    auto to = db.table("import");
    std::size_t at = 0;
    auto input = atomkv::input::callback([&](char *buffer, std::size_t size) {
        const auto count = lines.copy(buffer, size, at);
        at += count;
        return count;
    });
    CHECK(to.import_from(input).value("records") == 100 && to.size() == 100);
    auto bad_source = atomkv::input::callback(
        [](char *, std::size_t) -> std::size_t { throw std::underflow_error("nothing comes"); });
    CHECK(throws<std::underflow_error>([&] { to.import_from(bad_source); }));
    auto nonsense = atomkv::input::memory("{\"nonsense\n");
    try {
        to.import_from(nonsense);
        CHECK(false && "an error");
    } catch (const atomkv::input_error &error) {
        CHECK(error.report() != nullptr && error.report()->value("records") == 0);
    }
    CHECK(throws<std::domain_error>([&] {
        from.export_to(memory, atomkv::transfer_options().set("format", "csv"),
                       [](const atomkv::progress_values &) { throw std::domain_error("no further"); });
    }));
    atomkv::progress ended;
    ended.cancel();
    // Without the cancelling this import would never end.
    auto endless = atomkv::input::callback([&](char *buffer, std::size_t size) {
        at = at < lines.size() ? at : 0;
        const auto count = lines.copy(buffer, size, at);
        at += count;
        return count;
    });
    CHECK(throws<atomkv::cancelled>([&] { to.import_from(endless, {}, ended); }));
    ended.cancel(false);
    memory.take();
    from.export_to(memory, atomkv::transfer_options().scan(atomkv::scan_options().limit(3)), ended);
    CHECK(ended.values().records == 3);
    CHECK(throws<atomkv::invalid_argument>([] { atomkv::transfer_options().set("colour", "red"); }));

    auto dump = atomkv::output::file(path + ".dump");
    db.dump(dump, atomkv::transfer_options().table("export"));
    CHECK(throws<atomkv::already_exists>([&] { atomkv::output::file(path + ".dump"); }));
    auto other = atomkv::database::in_memory();
    auto source = atomkv::input::file(path + ".dump");
    other.load_dump(source);
    CHECK(other.table("export").size() == 100);

    CHECK(from.resize(32).value("to") == 32 && from.stats().value("keys") == 100);
    db.sync();
    db.checkpoint();
    {
        auto pause = db.pause_compaction();
        CHECK(bool(pause));
    }
    db.compact();
    CHECK(db.stat("keys") > 0 && db.stats().value("keys") == db.stat("keys") && db.verify().value("damage_count") == 0);
    db.backup(path + ".backup", atomkv::backup_flags::verify | atomkv::backup_flags::copy);
    CHECK(atomkv::verify_directory(path + ".backup").value("damage_count") == 0);
    atomkv::restore(path + ".backup", path + ".restored");
    auto restored = atomkv::database::open(path + ".restored");
    CHECK(restored.table("export").size() == 100 && restored.path().find(".restored") != std::string::npos);
    memory.take();
    db.backup_stream(memory);
    auto archive = atomkv::input::memory(memory.take());
    atomkv::restore_stream(archive, path + ".unpacked");
    auto salvaged = atomkv::salvage(path + ".unpacked", path + ".salvaged");
    CHECK(salvaged.value("lost_count") == 0);
    auto reading = atomkv::database::open(path + ".salvaged", atomkv::options().read_only().mapped(false));
    CHECK(!reading.refresh() && throws<atomkv::read_only>([&] { reading.table("export").put("x", "y"); }));
}

int main(int count, char **arguments)
{
    if (count != 2) {
        fprintf(stderr, "usage: %s DIRECTORY\n", arguments[0]);
        return 2;
    }
    char path[4096];
    path_of(path, sizeof path, arguments[1], "hpp");
    try {
        CHECK(atomkv::abi_version() == ATOMKV_ABI_VERSION && !atomkv::version().empty());
        test_bytes();
        auto options = atomkv::options().sync_interval(100ms).segment_bytes(65536, 1 << 20);
        options.checkpoint_bytes(1 << 20).dead_ratio(0.5);
        auto db = atomkv::database::open(path, options);
        test_values(db);
        test_errors(path, db);
        test_what_was_moved_from(path, db);
        test_scans(db);
        test_transactions(db);
        auto users = db.table("users");
        test_updates(users);
        test_streams_and_watches(db);
        test_transfer_and_care(path, db);
        // The database goes first, its table last.
        db = {};
        CHECK(users.get("ada") == "author");
    } catch (const std::exception &error) {
        CHECK(false && "no exception");
        fprintf(stderr, "%s\n", error.what());
    }
    return report("C++ with exceptions");
}
