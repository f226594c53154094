// What the user should know though the work goes on.
#pragma once

#include <string>

namespace mattec {

// "mattec: note: <text>" on standard error, safe to print; the same text once in a process, however
// often a clip is opened.
void note(const std::string& text);

}  // namespace mattec
