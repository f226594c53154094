#include "targets/library_name.h"

#include <algorithm>
#include <iterator>

#include "base/error.h"
#include "base/text.h"

namespace mattec::targets {
namespace {

// <name>.h would hide them: the headers of C17, C23 and POSIX whose names are identifiers.
const char* const system_headers[] = {
    "aio",      "assert",      "complex", "cpio",      "ctype",     "dirent", "dlfcn",   "errno",
    "fcntl",    "fenv",        "float",   "fmtmsg",    "fnmatch",   "ftw",    "glob",    "grp",
    "iconv",    "inttypes",    "iso646",  "langinfo",  "libgen",    "limits", "locale",  "math",
    "monetary", "mqueue",      "ndbm",    "netdb",     "nl_types",  "poll",   "pthread", "pwd",
    "regex",    "sched",       "search",  "semaphore", "setjmp",    "signal", "spawn",   "stdalign",
    "stdarg",   "stdatomic",   "stdbit",  "stdbool",   "stdckdint", "stddef", "stdint",  "stdio",
    "stdlib",   "stdnoreturn", "string",  "strings",   "stropts",   "syslog", "tar",     "termios",
    "tgmath",   "threads",     "time",    "trace",     "uchar",     "ulimit", "unistd",  "utime",
    "utmpx",    "wchar",       "wctype",  "wordexp"};

// lib<name>.a would be linked instead of them.
const char* const system_libraries[] = {"atomic", "c", "crypt",   "dl", "gcc", "gcc_eh",
                                        "gcc_s",  "m", "pthread", "rt", "util"};

// <NAME>_WIDTH is a macro of <stdint.h> or <limits.h>, in g++ by default and in C23: the number of
// bits of a type.
const char* const types[] = {
    "bool",         "char",        "int",         "int16",      "int32",        "int64",
    "int8",         "int_fast16",  "int_fast32",  "int_fast64", "int_fast8",    "int_least16",
    "int_least32",  "int_least64", "int_least8",  "intmax",     "intptr",       "llong",
    "long",         "ptrdiff",     "schar",       "shrt",       "sig_atomic",   "size",
    "uchar",        "uint",        "uint16",      "uint32",     "uint64",       "uint8",
    "uint_fast16",  "uint_fast32", "uint_fast64", "uint_fast8", "uint_least16", "uint_least32",
    "uint_least64", "uint_least8", "uintmax",     "uintptr",    "ullong",       "ulong",
    "ushrt",        "wchar",       "wint"};

template <size_t count>
bool is_among(const char* const (&words)[count], const std::string& word) {
  return std::find(std::begin(words), std::end(words), word) != std::end(words);
}

bool is_identifier(const std::string& name) {
  const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
  const auto is_letter = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
  };
  return !name.empty() && !is_digit(name[0]) &&
         std::all_of(name.begin(), name.end(), [&](char c) { return is_digit(c) || is_letter(c); });
}

}  // namespace

void require_library_name(const std::string& name) {
  const auto refuse = [&name](const std::string& why) {
    throw UsageError("library name \"" + name + "\" " + why);
  };
  if (!is_identifier(name)) refuse("is no C identifier; use letters, digits and _");
  // 255 bytes are a file's name at most; "lib" and ".a" are five.
  constexpr size_t longest = 250;
  if (name.size() > longest)
    refuse("is too long for a file's; use at most " + std::to_string(longest) + " letters");
  // Capitals aside: file systems may not tell them apart, and macros are in capitals.
  const std::string lower = lower_case(name);
  if (lower == "mattec" || lower.compare(0, 7, "mattec_") == 0)
    refuse("belongs to mattec.h, which lies beside the library's own header; choose another");
  if (is_among(system_headers, lower))
    refuse("would hide the header <" + lower + ".h> of the system; choose another");
  if (is_among(system_libraries, lower))
    refuse("would be linked instead of the system's lib" + lower + "; choose another");
  if (is_among(types, lower))
    refuse("would redefine a macro of <stdint.h> or <limits.h>; choose another");
}

}  // namespace mattec::targets
