// Result<T>: a value, or an Error that says what failed, why, and what to do. For expected failures only
// (bad file, no device, out of memory, cancelled); a broken contract is GS_CHECK.
//
//   Result<GgufFile> file = GgufFile::open(path);
//   if (!file) return file.error();
//   use(*file);
//
//   GS_TRY(GgufFile file, GgufFile::open(path));   // the same in one line, inside a function that returns a Result
//   GS_TRY_VOID(file.check());
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <variant>

#include "engine/core/check.h"

namespace gs {

/// Who or what is at fault; also the exit code of the command line (see exit_code).
enum class ErrorKind { kRun, kUsage, kInput, kDevice, kCancelled };

struct Error {
    ErrorKind kind = ErrorKind::kRun;
    std::string code;    ///< machine-readable class, snake case: "truncated", "bad_magic", "out_of_memory", …
    std::string what;    ///< what failed: "Cannot open model.gguf"
    std::string why;     ///< the reason: "the file ends inside tensor 12 (blk.0.attn_q.weight)"
    std::string remedy;  ///< what the user can do; may be empty

    /// "what: why. remedy" on one line.
    std::string message() const;
};

/// 0 never; 1 the run failed or was cancelled, 2 wrong usage, 3 bad input file, 4 device.
int exit_code(ErrorKind kind);

template <class T>
class [[nodiscard]] Result {
public:
    Result(T value) : m_state(std::in_place_index<0>, std::move(value)) {}
    Result(Error error) : m_state(std::in_place_index<1>, std::move(error)) {}

    explicit operator bool() const { return m_state.index() == 0; }
    T& value() & { return get(); }
    const T& value() const& { return const_cast<Result*>(this)->get(); }
    T&& value() && { return std::move(get()); }
    T& operator*() & { return get(); }
    const T& operator*() const& { return value(); }
    T&& operator*() && { return std::move(get()); }
    T* operator->() { return &get(); }
    const T* operator->() const { return &value(); }
    const Error& error() const& {
        GS_CHECK(m_state.index() == 1, "Result holds a value, not an error");
        return *std::get_if<1>(&m_state);
    }

private:
    T& get() {
        GS_CHECK(m_state.index() == 0, "Result holds an error, not a value");
        return *std::get_if<0>(&m_state);
    }
    std::variant<T, Error> m_state;
};

template <>
class [[nodiscard]] Result<void> {
public:
    Result() = default;
    Result(Error error) : m_error(std::move(error)) {}
    explicit operator bool() const { return !m_error; }
    const Error& error() const {
        GS_CHECK(m_error.has_value(), "Result holds success, not an error");
        return *m_error;
    }

private:
    std::optional<Error> m_error;
};

}  // namespace gs

#define GS_CONCAT_(a, b) a##b
#define GS_CONCAT(a, b) GS_CONCAT_(a, b)
#define GS_TRY_IMPL(tmp, decl, expr) \
    auto tmp = (expr);               \
    if (!tmp) return tmp.error();    \
    decl = std::move(tmp).value()
/// Declares `decl` from the value of the Result `expr`, or returns its error from the calling function.
#define GS_TRY(decl, expr) GS_TRY_IMPL(GS_CONCAT(gs_try_, __LINE__), decl, expr)
/// Returns the error of the Result<void> `expr`, if it has one.
#define GS_TRY_VOID(expr)                           \
    do {                                            \
        if (auto gs_r_ = (expr); !gs_r_) return gs_r_.error(); \
    } while (false)
