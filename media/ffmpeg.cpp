#include "media/ffmpeg.h"

extern "C" {
#include <libavdevice/avdevice.h>
}

#include <array>

namespace mattec::media {

std::string ffmpeg_text(int code) {
  std::array<char, AV_ERROR_MAX_STRING_SIZE> text = {};
  av_strerror(code, text.data(), text.size());
  return text.data();
}

void silence_ffmpeg() {
  static const bool done = [] {
    avdevice_register_all();
    av_log_set_callback([](void*, int, const char*, va_list) {});
    return true;
  }();
  static_cast<void>(done);
}

}  // namespace mattec::media
