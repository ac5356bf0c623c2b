import okhttp3.*;

public class OkHttp {
    public static void main(String[] given) throws Exception {
        OkHttpClient client = new OkHttpClient().newBuilder()
          .readTimeout(java.time.Duration.ofSeconds(120))
          .build();
        MediaType mediaType = MediaType.parse("application/json");
        RequestBody body = RequestBody.create(mediaType, given[1]);
        Request request = new Request.Builder()
          .url(given[0])
          .method("POST", body)
          .addHeader("Content-Type", "application/json")
          .build();
        Response response = client.newCall(request).execute();
        System.out.println(response.body().string());
        client.dispatcher().executorService().shutdown();
        client.connectionPool().evictAll();
    }
}
