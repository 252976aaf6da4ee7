// atomkv.h as C++17 sees it. usage: test_cpp DIRECTORY

#include <memory>
#include <string>
#include <thread>
#include <type_traits>
#include <vector>

#include "test.h"

static_assert(sizeof(atomkv_status) == 4, "a status is 32 bits wide");
static_assert(sizeof(atomkv_slice) == 2 * sizeof(void *), "a slice is two words");
static_assert(std::is_standard_layout<atomkv_written>::value, "plain data");

template <auto Free> struct Deleter {
    template <class T> void operator()(T *handle) const { Free(handle); }
};
using Db = std::unique_ptr<atomkv_db, Deleter<atomkv_db_free>>;
using Table = std::unique_ptr<atomkv_table, Deleter<atomkv_table_free>>;
using Iter = std::unique_ptr<atomkv_iter, Deleter<atomkv_iter_free>>;

static Db open(const std::string &path)
{
    atomkv_db *db = nullptr;
    REQUIRE(atomkv_open(path.c_str(), nullptr, &db, nullptr) == ATOMKV_OK);
    return Db(db);
}

static Table table(const Db &db, const char *name)
{
    atomkv_table *handle = nullptr;
    REQUIRE(atomkv_table_open(db.get(), name, nullptr, &handle, nullptr) == ATOMKV_OK);
    return Table(handle);
}

static std::string get(const Table &table, const std::string &key)
{
    atomkv_buffer value{};
    if (atomkv_get_owned(table.get(), key.data(), key.size(), &value) != ATOMKV_OK)
        return "(none)";
    std::string text(static_cast<const char *>(value.data), value.size);
    atomkv_free(value.data);
    return text;
}

int main(int count, char **arguments)
{
    if (count != 2) {
        fprintf(stderr, "usage: %s DIRECTORY\n", arguments[0]);
        return 2;
    }
    char path[4096];
    path_of(path, sizeof path, arguments[1], "cpp");
    {
        Db db = open(path);
        Table users = table(db, "users");
        std::vector<std::thread> threads;
        for (int thread = 0; thread < 4; thread++)
            threads.emplace_back([&users, thread] {
                for (int number = 0; number < 500; number++) {
                    std::string key = std::to_string(thread) + "/" + std::to_string(number);
                    if (atomkv_put(users.get(), key.data(), key.size(), key.data(), key.size(), nullptr) < 0)
                        std::abort();
                }
            });
        for (auto &thread : threads)
            thread.join();
        CHECK(get(users, "3/499") == "3/499");
        CHECK(get(users, "4/0") == "(none)");
        // The database goes first, its table last.
        db.reset();
        CHECK(get(users, "0/0") == "0/0");
    }
    Db db = open(path);
    Table users = table(db, "users");
    uint64_t keys = 0;
    CHECK(atomkv_table_len(users.get(), &keys) == ATOMKV_OK && keys == 2000);
    atomkv_iter *handle = nullptr;
    REQUIRE(atomkv_iter_new(users.get(), nullptr, &handle) == ATOMKV_OK);
    Iter iter(handle);
    atomkv_slice key{}, value{};
    int seen = 0;
    while (atomkv_iter_next(iter.get(), &key, &value, nullptr) == ATOMKV_OK)
        seen += key.size == value.size && memcmp(key.data, value.data, key.size) == 0;
    CHECK(seen == 2000);
    return report("C++");
}
