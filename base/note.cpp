#include "base/note.h"

#include <cstdio>
#include <mutex>
#include <set>

#include "base/text.h"

namespace mattec {

void note(const std::string& text) {
  static std::mutex mutex;
  static std::set<std::string> noted;
  const std::lock_guard<std::mutex> lock(mutex);
  if (noted.insert(text).second)
    std::fprintf(stderr, "mattec: note: %s\n", printable(text).c_str());
}

}  // namespace mattec
