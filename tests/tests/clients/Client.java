import java.net.URI;
import java.net.URL;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import javax.net.ssl.HttpsURLConnection;

public class Client {
    public static void main(String[] arguments) throws Exception {
        for (String host : new String[] {"api", "h2"}) {
            HttpRequest request = HttpRequest.newBuilder(URI.create("https://" + host + ".example.com/v1/a"))
                .POST(HttpRequest.BodyPublishers.ofString("12345"))
                .build();
            HttpResponse<String> answer =
                HttpClient.newHttpClient().send(request, HttpResponse.BodyHandlers.ofString());
            System.out.println(host + " over " + answer.version() + ": " + answer.body());
        }
        HttpsURLConnection connection =
            (HttpsURLConnection) new URL("https://api.example.com/v1/b").openConnection();
        byte[] body = connection.getInputStream().readAllBytes();
        System.out.println("connection: " + new String(body, StandardCharsets.UTF_8));
    }
}
